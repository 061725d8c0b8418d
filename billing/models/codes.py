"""Promotional codes and referrals."""

from django.db import models
from django.utils import timezone

from accounts.models import Team, User
from billing.models.payments import Order


class CreditCode(models.Model):
    """A promotional code: once a team, and up to a limit overall."""

    code = models.CharField(max_length=40, unique=True, help_text="Stored in capitals.")
    amount_nanos = models.BigIntegerField()
    redemptions_limit = models.PositiveIntegerField()
    redemptions = models.PositiveIntegerField(default=0, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When the code expires.")
    credit_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Until the credits expire. Leave empty for credits that never expire.",
    )
    is_active = models.BooleanField(default=True)
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "promotional code"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nanos__gt=0), name="code_amount_positive"
            ),
            models.CheckConstraint(
                condition=models.Q(redemptions__lte=models.F("redemptions_limit")),
                name="code_within_its_limit",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class CodeRedemption(models.Model):
    """A team's redemption of a code."""

    code = models.ForeignKey(CreditCode, on_delete=models.PROTECT, related_name="redeemed")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    mailbox_digest = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        help_text="Keyed digest of the mailbox, kept when the user is deleted.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "team"], name="code_once_a_team"),
            models.UniqueConstraint(
                fields=["code", "mailbox_digest"],
                condition=~models.Q(mailbox_digest=""),
                name="code_once_a_mailbox",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} by {self.team}"


class ReferralLink(models.Model):
    """A team's link for referring others."""

    team = models.OneToOneField(
        Team, on_delete=models.PROTECT, primary_key=True, related_name="referral_link"
    )
    code = models.CharField(max_length=20, unique=True)

    def __str__(self) -> str:
        return f"{self.code} of {self.team}"


class Referral(models.Model):
    """A team referred by another: both get credits after its first qualifying payment."""

    team = models.OneToOneField(
        Team, on_delete=models.PROTECT, primary_key=True, related_name="referral"
    )
    referrer = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="referrals")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    rewarded_at = models.DateTimeField(null=True, blank=True)
    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The payment that earned the credit.",
    )
    taken_back_at = models.DateTimeField(
        null=True, blank=True, help_text="When the credit was taken back with the payment."
    )
    returns = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often it was given back since, with the payment."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(team=models.F("referrer")), name="referral_of_another"
            )
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(rewarded_at__isnull=True),
                name="referral_unrewarded",
            )
        ]

    def __str__(self) -> str:
        return f"{self.team} by {self.referrer}"
