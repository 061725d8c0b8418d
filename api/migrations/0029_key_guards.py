"""Add guards of API keys, the networks that keys are used from, and incidents."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0016_webhooks'),
        ('api', '0028_keys_of_upstreams'),
    ]

    operations = [
        # Foreign keys lock the table of keys, which every admission reads.
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='KeyGuard',
                    fields=[
                        ('key', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='guard', serialize=False, to='accounts.apikey')),
                        ('on_spike', models.CharField(choices=[('off', 'Off'), ('warn', 'Warn'), ('freeze', 'Freeze')], default='warn', max_length=6)),
                        ('on_new_network', models.CharField(choices=[('off', 'Off'), ('warn', 'Warn'), ('freeze', 'Freeze')], default='off', max_length=6)),
                    ],
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='KeyIncident',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('kind', models.CharField(choices=[('spike', 'spend far above what is usual'), ('new_network', 'use from a new network')], max_length=12)),
                        ('reference', models.CharField(help_text='The occasion: it is reported once.', max_length=80)),
                        ('is_frozen', models.BooleanField(verbose_name='froze the key')),
                        ('spent_nanos', models.BigIntegerField(default=0, help_text='Spent in the hour until then.')),
                        ('usual_nanos', models.BigIntegerField(default=0, help_text='The most of an hour before.')),
                        ('network', models.GenericIPAddressField(null=True)),
                        ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                        ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='incidents', to='accounts.apikey')),
                    ],
                    options={
                        'constraints': [models.UniqueConstraint(fields=('key', 'kind', 'reference'), name='keyincident_once')],
                    },
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='KeyNetwork',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('network', models.GenericIPAddressField(help_text='Its first address.')),
                        ('first_seen_at', models.DateTimeField(default=django.utils.timezone.now)),
                        ('last_seen_at', models.DateTimeField(default=django.utils.timezone.now)),
                        ('is_judged', models.BooleanField(db_default=False, default=False)),
                        ('key', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.apikey')),
                    ],
                    options={
                        'indexes': [models.Index(condition=models.Q(('is_judged', False)), fields=['id'], name='keynetwork_unjudged'), models.Index(fields=['last_seen_at'], name='keynetwork_by_age')],
                        'constraints': [models.UniqueConstraint(fields=('key', 'network'), name='keynetwork_once')],
                    },
                ),
            ]
        ),
    ]
