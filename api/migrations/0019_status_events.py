"""Add incidents, maintenance windows, announcements, and subscribers of the status page."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('api', '0018_maintenance_mode'),
    ]

    operations = [
        migrations.CreateModel(
            name='StatusSubscriber',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.EmailField(max_length=254, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='StatusEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('incident', 'Incident'), ('maintenance', 'Maintenance'), ('announcement', 'Announcement')], max_length=12)),
                ('title', models.CharField(max_length=120)),
                ('impact', models.CharField(choices=[('none', 'No impact on requests'), ('degraded', 'Degraded'), ('outage', 'Outage')], default='degraded', help_text='Of an incident. A maintenance window puts its models under maintenance.', max_length=10)),
                ('model_names', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=120), blank=True, default=list, help_text='Names of the models concerned, separated by commas. Empty: the whole service.', size=None)),
                ('starts_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ends_at', models.DateTimeField(blank=True, help_text='When it ended or will end. An announcement without an end is shown for 14 days.', null=True)),
                ('is_published', models.BooleanField(default=False, help_text='Shown on /status, in the feed and on dashboards, and sent to subscribers.', verbose_name='published')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'indexes': [models.Index(fields=['starts_at'], name='statusevent_starts_at')],
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_at__isnull', True), ('ends_at__gte', models.F('starts_at')), _connector='OR'), name='statusevent_ends_after_start', violation_error_message="It can't end before it starts.")],
            },
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='StatusUpdate',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('text', models.TextField(max_length=2000)),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='time')),
                        ('notified_at', models.DateTimeField(blank=True, editable=False, null=True)),
                        ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='updates', to='api.statusevent')),
                    ],
                    options={
                        'ordering': ('-created_at', '-pk'),
                    },
                ),
            ]
        ),
    ]
