"""Keep chats that are answered later: a new table.

Its foreign keys lock the tables that they point to for a moment.
"""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0007_labels'),
        ('api', '0009_route_streams_plain_answers'),
        ('billing', '0017_payment_labels'),
    ]

    operations = [
        WithLockTimeout([
            migrations.CreateModel(
                name='ChatJob',
                fields=[
                    ('id', models.UUIDField(help_text="The request's id.", primary_key=True, serialize=False)),
                    ('model', models.CharField(max_length=120)),
                    ('surface', models.CharField(max_length=40)),
                    ('held_nanos', models.BigIntegerField(help_text='What the answer may cost at most.')),
                    ('body', models.TextField(blank=True, help_text='The request; empty once it has ended.')),
                    ('answer', models.TextField(blank=True)),
                    ('error', models.CharField(blank=True, max_length=500)),
                    ('error_code', models.CharField(blank=True, max_length=60)),
                    ('state', models.CharField(choices=[('processing', 'Processing'), ('completed', 'Completed'), ('failed', 'Failed'), ('expired', 'Expired')], default='processing', max_length=10)),
                    ('runs', models.PositiveIntegerField(default=0, help_text='How often a worker began with it.')),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('expires_at', models.DateTimeField(help_text='Not finished by then, it has failed.')),
                    ('next_run_at', models.DateTimeField(help_text='Until then a worker has it, or it waits.')),
                    ('ended_at', models.DateTimeField(null=True)),
                    ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.creditaccount')),
                    ('key', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.apikey')),
                    ('price_version', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.priceversion')),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.team')),
                ],
                options={
                    'indexes': [models.Index(condition=models.Q(('state', 'processing')), fields=['next_run_at'], name='chatjob_to_run'), models.Index(condition=models.Q(('state', 'processing'), _negated=True), fields=['ended_at'], name='chatjob_to_forget')],
                    'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('state', 'processing')), models.Q(models.Q(('state', 'processing'), _negated=True), ('body', ''), ('ended_at__isnull', False)), _connector='OR'), name='chatjob_ended_has_time_and_no_body'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'completed'), _negated=True), models.Q(('answer', ''), _negated=True), _connector='OR'), name='chatjob_completed_has_answer')],
                },
            ),
        ]),
    ]
