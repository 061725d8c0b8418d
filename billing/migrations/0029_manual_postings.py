"""Add the postings that staff request, some of which a second person confirms."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_staff_acts"),
        ("billing", "0028_retry_indexes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="ManualPosting",
                    fields=[
                        (
                            "id",
                            models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False),
                        ),
                        (
                            "kind",
                            models.CharField(
                                choices=[
                                    ("grant", "Credits granted"),
                                    ("adjustment", "Balance adjusted"),
                                    ("goodwill", "Goodwill credits"),
                                    ("refund", "Refund"),
                                ],
                                max_length=12,
                            ),
                        ),
                        (
                            "amount_nanos",
                            models.BigIntegerField(help_text="Negative: taken from the customer."),
                        ),
                        (
                            "expires_at",
                            models.DateTimeField(
                                blank=True, help_text="When granted credits expire.", null=True
                            ),
                        ),
                        (
                            "is_forced",
                            models.BooleanField(
                                default=False, help_text="Refunds only: even if it is spent."
                            ),
                        ),
                        ("reason", models.CharField(max_length=300)),
                        (
                            "state",
                            models.CharField(
                                choices=[
                                    ("pending", "Pending"),
                                    ("posted", "Posted"),
                                    ("rejected", "Rejected"),
                                ],
                                default="pending",
                                max_length=10,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(default=django.utils.timezone.now, editable=False),
                        ),
                        ("decided_at", models.DateTimeField(blank=True, null=True)),
                        (
                            "decided_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "order",
                            models.ForeignKey(
                                blank=True,
                                help_text="Refunds only.",
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="billing.order",
                            ),
                        ),
                        (
                            "requested_by",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "team",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="manual_postings",
                                to="accounts.team",
                            ),
                        ),
                    ],
                    options={
                        "permissions": [
                            ("grant_credits", "Can grant credits"),
                            ("adjust_balance", "Can adjust a balance"),
                            ("give_goodwill", "Can give goodwill credits"),
                            (
                                "approve_manualposting",
                                "Can confirm what another member of staff requested",
                            ),
                        ],
                        "default_permissions": ("view",),
                        "indexes": [
                            models.Index(
                                fields=["team", "-created_at"], name="manualposting_by_team"
                            ),
                            models.Index(
                                condition=models.Q(("state", "pending")),
                                fields=["created_at"],
                                name="manualposting_pending",
                            ),
                        ],
                        "constraints": [
                            models.CheckConstraint(
                                condition=models.Q(
                                    ("amount_nanos__gt", 0),
                                    models.Q(("amount_nanos__lt", 0), ("kind", "adjustment")),
                                    _connector="OR",
                                ),
                                name="manualposting_amount",
                            ),
                            models.CheckConstraint(
                                condition=models.Q(
                                    models.Q(("decided_at__isnull", True), ("state", "pending")),
                                    models.Q(
                                        models.Q(("state", "pending"), _negated=True),
                                        ("decided_at__isnull", False),
                                    ),
                                    _connector="OR",
                                ),
                                name="manualposting_decided_has_time",
                            ),
                            models.CheckConstraint(
                                condition=models.Q(
                                    models.Q(("kind", "refund"), ("order__isnull", False)),
                                    models.Q(
                                        models.Q(("kind", "refund"), _negated=True),
                                        ("order__isnull", True),
                                    ),
                                    _connector="OR",
                                ),
                                name="manualposting_refund_has_order",
                            ),
                        ],
                    },
                ),
            ]
        ),
    ]
