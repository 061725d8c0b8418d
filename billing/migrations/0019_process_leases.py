"""Add leases of processes and of holds, each account's open calls, and free models' minutes."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_rate_tiers")]
    operations = [
        migrations.CreateModel(
            "ProcessLease",
            [
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("process", models.CharField(help_text="Host and process id.", max_length=200)),
                ("started_at", models.DateTimeField()),
                ("renewed_at", models.DateTimeField()),
                (
                    "suspected_at",
                    models.DateTimeField(
                        help_text="Since when it has neither renewed the lease nor held its lock.", null=True
                    ),
                ),
                (
                    "ended_at",
                    models.DateTimeField(help_text="Set: what it held is released.", null=True),
                ),
            ],
        ),
        migrations.CreateModel(
            "FreeWindow",
            [
                (
                    "subject",
                    models.CharField(
                        help_text="`team 1`, or `address 192.0.2.1`.",
                        max_length=80,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("requests", models.BigIntegerField()),
                ("tokens", models.BigIntegerField()),
            ],
        ),
        WithLockTimeout(
            [
                # Nobody has it yet; counters of one minute are worth no write-ahead log.
                migrations.RunSQL(
                    "ALTER TABLE billing_freewindow SET UNLOGGED", migrations.RunSQL.noop
                )
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    "creditaccount",
                    "open_calls",
                    models.IntegerField(
                        default=0,
                        db_default=0,
                        help_text="Open reservations that count as calls at once.",
                    ),
                )
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    "reservation",
                    "lease_id",
                    models.IntegerField(
                        null=True,
                        help_text="Of the process that serves it."
                        " None: it ends by its expiry alone.",
                    ),
                ),
                migrations.AddField(
                    "reservation",
                    "is_call",
                    models.BooleanField(
                        default=False,
                        db_default=False,
                        help_text="Whether it counts among the team's open calls.",
                    ),
                ),
            ]
        ),
    ]
