"""Add the IP address of each key's last request."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0013_frozen_by_team'),
        ('api', '0023_model_figures'),
    ]

    operations = [
        # The foreign key locks the table of keys, which every admission reads.
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='KeyAddress',
                    fields=[
                        ('key', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='last_address', serialize=False, to='accounts.apikey')),
                        ('address', models.GenericIPAddressField(verbose_name='IP address')),
                        ('seen_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ],
                    options={
                        'verbose_name_plural': 'key addresses',
                    },
                ),
            ]
        ),
    ]
