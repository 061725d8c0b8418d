"""Add the requests with an Idempotency-Key."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0013_frozen_by_team'),
        ("api", "0026_hides_reasoning"),
    ]

    operations = [
        # The foreign key locks the table of keys, which every admission reads.
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='IdempotentRequest',
                    fields=[
                        ('id', models.CharField(help_text='A digest of the key.', max_length=64, primary_key=True, serialize=False)),
                        ('fingerprint', models.CharField(help_text='A digest of the request.', max_length=64)),
                        ('request_id', models.UUIDField(help_text='The request that runs, or was charged.')),
                        ('endpoint', models.CharField(max_length=40)),
                        ('lease_id', models.IntegerField(help_text='The process that claimed it.')),
                        ('state', models.CharField(choices=[('running', 'Running'), ('stored', 'Stored'), ('too_large', 'too large to keep'), ('incomplete', 'ended early')], default='running', max_length=10)),
                        ('answer', models.BinaryField(default=b'', help_text='Encrypted.')),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                        ('ended_at', models.DateTimeField(null=True)),
                        ('expires_at', models.DateTimeField(db_index=True, help_text='It is deleted after that.')),
                        ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.apikey')),
                    ],
                ),
            ]
        ),
    ]
