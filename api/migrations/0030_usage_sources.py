"""Add the APIs that upstreams' own usage is read from, and what they report by day and model."""

import django.db.models.deletion
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0029_key_guards'),
    ]

    operations = [
        # The foreign key locks the table of upstreams.
        WithLockTimeout([
            migrations.CreateModel(
                name='UsageSource',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('kind', models.CharField(choices=[('openai', 'OpenAI: organization usage and costs'), ('openrouter', 'OpenRouter: activity')], max_length=20)),
                    ('base_url', models.CharField(help_text='Up to and without `/organization` or `/activity`, such as https://api.openai.com/v1 or https://openrouter.ai/api/v1.', max_length=200, verbose_name='base URL')),
                    ('encrypted_key', models.TextField(blank=True, db_default='', default='', editable=False)),
                    ('key_end', models.CharField(blank=True, db_default='', default='', editable=False, max_length=4)),
                    ('key_set_at', models.DateTimeField(blank=True, editable=False, null=True)),
                    ('is_enabled', models.BooleanField(db_default=True, default=True, help_text='Read every night, the last 30 days.', verbose_name='enabled')),
                    ('read_at', models.DateTimeField(blank=True, editable=False, null=True)),
                    ('error', models.CharField(blank=True, db_default='', default='', editable=False, max_length=300)),
                    ('upstream', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='usage_source', to='api.upstream')),
                ],
            ),
        ]),
        WithLockTimeout([
            migrations.CreateModel(
                name='ReportedUsage',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('day', models.DateField()),
                    ('model', models.CharField(max_length=200)),
                    ('requests', models.BigIntegerField(db_default=0, default=0)),
                    ('input_tokens', models.BigIntegerField(db_default=0, default=0, help_text='Including cached ones.')),
                    ('output_tokens', models.BigIntegerField(db_default=0, default=0)),
                    ('cost_nanos', models.BigIntegerField(db_default=0, default=0)),
                    ('source', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reported', to='api.usagesource')),
                ],
                options={
                    'verbose_name_plural': 'reported usage',
                    'default_permissions': ('view',),
                    'constraints': [models.UniqueConstraint(fields=('source', 'day', 'model'), name='reportedusage_once')],
                },
            ),
        ]),
    ]
