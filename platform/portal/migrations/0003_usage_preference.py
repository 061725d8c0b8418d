"""Add members' own choices for the usage page."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0014_language'),
        ('portal', '0002_brand'),
    ]

    operations = [
        WithLockTimeout([  # it refers to users and teams
            migrations.CreateModel(
                name='UsagePreference',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('filters', models.JSONField(db_default=[], default=list, help_text='Each a name and the query of the page.')),
                    ('hidden_columns', models.CharField(blank=True, db_default='', default='', max_length=100)),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.team')),
                    ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='usage_preferences', to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [models.UniqueConstraint(fields=('user', 'team'), name='usage_preference_once')],
                },
            ),
        ]),
    ]
