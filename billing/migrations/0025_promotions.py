"""Codes are redeemed once a mailbox; a referral knows the payment that earned its credit."""

import django.db.models.deletion
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0024_plan_reversals")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="coderedemption",
                    name="mailbox_digest",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        help_text="Keyed digest of the mailbox, kept when the user is deleted.",
                        max_length=64,
                    ),
                ),
                migrations.AddConstraint(
                    model_name="coderedemption",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("mailbox_digest", ""), _negated=True),
                        fields=("code", "mailbox_digest"),
                        name="code_once_a_mailbox",
                    ),
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="referral",
                    name="order",
                    field=models.ForeignKey(
                        blank=True,
                        help_text="The payment that earned the credit.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.order",
                    ),
                ),
                migrations.AddField(
                    model_name="referral",
                    name="taken_back_at",
                    field=models.DateTimeField(
                        blank=True,
                        help_text="When the credit was taken back with the payment.",
                        null=True,
                    ),
                ),
                migrations.AddField(
                    model_name="referral",
                    name="returns",
                    field=models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How often it was given back since, with the payment.",
                    ),
                ),
            ]
        ),
    ]
