"""Add alert targets, and the deliveries of alerts to them."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0016_refuses_below_cost'),
        ('billing', '0026_carried_spend'),
    ]

    operations = [
        migrations.CreateModel(
            name='AlertTarget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80, unique=True)),
                ('channel', models.CharField(choices=[('email', 'Email'), ('slack', 'Slack (incoming webhook)'), ('webhook', 'Signed webhook (Standard Webhooks)')], max_length=10)),
                ('address', models.CharField(blank=True, help_text="The email address, or the webhook's URL. Leave empty for Slack.", max_length=500)),
                ('encrypted_secret', models.TextField(blank=True, editable=False)),
                ('secret_set_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('least_severity', models.CharField(choices=[('warning', 'All alerts'), ('critical', 'Critical alerts only')], default='warning', max_length=10, verbose_name='sends')),
                ('is_enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('last_sent_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('failing_since', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_error', models.CharField(blank=True, editable=False, max_length=200)),
            ],
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='AlertDelivery',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('state', models.CharField(choices=[('waiting', 'Waiting'), ('sent', 'Sent'), ('failed', 'given up'), ('skipped', 'skipped: acknowledged before it was sent')], default='waiting', max_length=10)),
                        ('message_id', models.UUIDField(db_index=True, help_text='The same for each attempt: webhooks deduplicate by it.', null=True)),
                        ('attempts', models.PositiveSmallIntegerField(default=0)),
                        ('next_attempt_at', models.DateTimeField(default=django.utils.timezone.now)),
                        ('error', models.CharField(blank=True, max_length=200)),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                        ('ended_at', models.DateTimeField(null=True)),
                        ('alert', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='billing.ledgeralert')),
                        ('target', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='api.alerttarget')),
                    ],
                    options={
                        'verbose_name_plural': 'alert deliveries',
                        'indexes': [models.Index(condition=models.Q(('state', 'waiting')), fields=['next_attempt_at'], name='alertdelivery_waiting')],
                        'constraints': [models.UniqueConstraint(fields=('alert', 'target'), name='alertdelivery_once')],
                    },
                ),
            ]
        ),
    ]
