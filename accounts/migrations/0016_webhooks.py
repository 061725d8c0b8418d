"""Add customers' webhook endpoints, and the events for them with their deliveries."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.db import migrations, models


# Sign-ins read the table of teams, which the foreign keys lock. A migration that gives up is run
# again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0015_oauth'),
    ]

    operations = [
        LOCK_TIMEOUT,
        migrations.AlterField(
            model_name='sentnotice',
            name='kind',
            field=models.CharField(choices=[('low_balance', 'Low Balance'), ('budget_reached', 'Budget Reached'), ('key_created', 'Key Created'), ('auto_top_up', 'Auto Top Up'), ('auto_top_up_problem', 'Auto Top Up Problem'), ('refund_made', 'Refund Made'), ('keys_paused', 'Keys Paused'), ('plan_payment_failed', 'Plan Payment Failed'), ('plan_ended', 'Plan Ended'), ('price_change', 'Price Change'), ('webhook_disabled', 'Webhook Disabled'), ('key_flagged', 'Key Flagged'), ('budget_warning', 'Budget Warning')], max_length=20),
        ),
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.CharField(max_length=500, verbose_name='URL')),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), blank=True, default=list, help_text='The types of events that it gets. Empty: all.', size=None)),
                ('low_balance_nanos', models.BigIntegerField(default=5000000000, help_text='balance.low is sent below this balance.')),
                ('is_balance_low', models.BooleanField(default=False, editable=False)),
                ('encrypted_secret', models.TextField(editable=False)),
                ('encrypted_previous_secret', models.TextField(blank=True, default='', editable=False)),
                ('previous_secret_expires_at', models.DateTimeField(editable=False, null=True)),
                ('disabled_at', models.DateTimeField(editable=False, null=True)),
                ('disabled_reason', models.CharField(blank=True, choices=[('member', 'disabled by a member'), ('failing', 'failed for days'), ('gone', 'answered 410 Gone')], max_length=10)),
                ('failing_since', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhook_endpoints', to='accounts.team')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookEvent',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=40)),
                ('data', models.JSONField()),
                ('reference', models.CharField(help_text='The occasion: a team has one event of a type for it.', max_length=150, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.team')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('canceled', 'canceled: the endpoint was disabled')], default='waiting', max_length=10)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('attempts_before_replay', models.PositiveIntegerField(default=0)),
                ('next_attempt_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('attempted_at', models.DateTimeField(null=True)),
                ('status', models.PositiveSmallIntegerField(help_text='The HTTP status.', null=True)),
                ('duration_ms', models.PositiveIntegerField(help_text='Milliseconds.', null=True)),
                ('excerpt', models.CharField(blank=True, help_text='How the answer begins.', max_length=500)),
                ('problem', models.CharField(blank=True, choices=[('address', 'the URL leads to no public address'), ('unreachable', 'no connection'), ('tls', 'the certificate is not valid'), ('timeout', 'no answer in time'), ('secret', "the signing secret can't be read")], max_length=12)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ended_at', models.DateTimeField(null=True)),
                ('endpoint', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='accounts.webhookendpoint')),
                ('event', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='accounts.webhookevent')),
            ],
            options={
                'verbose_name_plural': 'webhook deliveries',
            },
        ),
        migrations.AddIndex(
            model_name='webhookendpoint',
            index=models.Index(fields=['team', 'id'], name='webhookendpoint_by_team'),
        ),
        migrations.AddIndex(
            model_name='webhookevent',
            index=models.Index(fields=['created_at'], name='webhookevent_by_age'),
        ),
        migrations.AddConstraint(
            model_name='webhookevent',
            constraint=models.UniqueConstraint(fields=('team', 'type', 'reference'), name='webhookevent_once'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['endpoint', 'next_attempt_at'], name='webhookdelivery_waiting'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['endpoint', '-id'], name='webhookdelivery_by_endpoint'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('event', 'endpoint'), name='webhookdelivery_once'),
        ),
    ]
