"""Disputes and refunds of plans' payments move revenue; disputes are won in parts."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout

KINDS = [
    ("usage", "Usage"),
    ("write_off", "Write Off"),
    ("grant", "Grant"),
    ("top_up", "Top Up"),
    ("expiry", "Expiry"),
    ("subscription", "Subscription"),
    ("revenue_reversal", "Revenue Reversal"),
    ("revenue_reinstatement", "Revenue Reinstatement"),
    ("adjustment", "Adjustment"),
    ("refund", "Refund"),
    ("refund_reversal", "Refund Reversal"),
    ("goodwill", "Goodwill"),
    ("goodwill_reversal", "Goodwill Reversal"),
    ("clawback", "Clawback"),
    ("clawback_reversal", "Clawback Reversal"),
    ("receivable", "Receivable"),
    ("receivable_reversal", "Receivable Reversal"),
    ("collection", "Collection"),
]


class Migration(migrations.Migration):
    dependencies = [("billing", "0023_give_back_v3")]
    operations = [
        migrations.AlterField(
            model_name="transfer",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=24),
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="subscriptionpayment",
                    name="tax_cents",
                    field=models.PositiveIntegerField(
                        help_text="Included in the amount. Empty where it was not kept, before 2026-12.",
                        null=True,
                    ),
                )
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="dispute",
                    name="revenue_nanos",
                    field=models.BigIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Moved out of revenue, for a plan's payment.",
                    ),
                ),
                migrations.AddField(
                    model_name="dispute",
                    name="reinstated_cents",
                    field=models.PositiveIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Reinstated by Stripe so far, with tax.",
                    ),
                ),
                migrations.AddField(
                    model_name="dispute",
                    name="corrected_nanos",
                    field=models.BigIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Given by staff ahead of Stripe; taken back from what Stripe reinstates.",
                    ),
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="PlanRefund",
                    fields=[
                        (
                            "stripe_id",
                            models.CharField(max_length=64, primary_key=True, serialize=False),
                        ),
                        ("amount_cents", models.PositiveIntegerField(help_text="As charged, with tax.")),
                        (
                            "revenue_nanos",
                            models.BigIntegerField(help_text="Moved out of revenue: without tax."),
                        ),
                        (
                            "credit_nanos",
                            models.BigIntegerField(
                                help_text="Granted credits taken back or owed."
                            ),
                        ),
                        (
                            "owed_nanos",
                            models.BigIntegerField(
                                help_text="Of these already spent, so owed by the team."
                            ),
                        ),
                        ("collected_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "state",
                            models.CharField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("succeeded", "Succeeded"),
                                    ("failed", "Failed"),
                                    ("canceled", "Canceled"),
                                ],
                                max_length=10,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(
                                default=django.utils.timezone.now, editable=False
                            ),
                        ),
                        ("ended_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "payment",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="refunds",
                                to="billing.subscriptionpayment",
                            ),
                        ),
                    ],
                    options={
                        "indexes": [
                            models.Index(
                                condition=models.Q(
                                    ("collected_at__isnull", True), ("owed_nanos__gt", 0)
                                ),
                                fields=["created_at"],
                                name="plan_refund_owed",
                            )
                        ]
                    },
                )
            ]
        ),
    ]
