"""Keys that sign receipts, and the Merkle roots of closed days."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0042_budget_functions'),
    ]

    operations = [
        migrations.CreateModel(
            name='SigningKey',
            fields=[
                ('id', models.CharField(help_text="The public key's thumbprint (RFC 7638).", max_length=43, primary_key=True, serialize=False)),
                ('public_key', models.CharField(help_text='In base64url, as in the JWKS.', max_length=43)),
                ('encrypted_private_key', models.TextField(db_default='', default='', editable=False)),
                ('signs_from', models.DateTimeField()),
                ('withdrawn_at', models.DateTimeField(help_text='Set: it is not published any more, so what it signed is refused.', null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), default=django.utils.timezone.now)),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name='DayRoot',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('day', models.DateField()),
                        ('first_sequence', models.BigIntegerField()),
                        ('last_sequence', models.BigIntegerField()),
                        ('root', models.BinaryField(help_text="RFC 6962's Merkle tree hash of the transfers.")),
                        ('chain', models.BinaryField(help_text='The hash of the root and of the chain before it.')),
                        ('chunk_hashes', models.BinaryField(help_text='The roots of each 1,024 transfers, 32 bytes each, so that proofs are quick.')),
                        ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), default=django.utils.timezone.now)),
                        ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='day_roots', to='billing.creditaccount')),
                    ],
                    options={
                        'default_permissions': ('view',),
                        'constraints': [models.UniqueConstraint(fields=('account', 'day'), name='dayroot_once'), models.UniqueConstraint(fields=('account', 'first_sequence'), name='dayroot_sequence_once'), models.CheckConstraint(condition=models.Q(('last_sequence__gte', models.F('first_sequence'))), name='dayroot_has_transfers')],
                    },
                ),
            ]
        ),
    ]
