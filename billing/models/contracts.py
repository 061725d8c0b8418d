"""Contract prices: what staff agreed with one team, why, and who confirmed it."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from msgspec.structs import replace

from accounts.formats import number_text
from accounts.models import Team, User
from billing.models.prices import Product, RatesRow
from billing.pricing.contracts import LARGEST_FACTOR, SMALLEST_FACTOR, with_factor
from billing.pricing.money import factor_text
from billing.pricing.rates import Rates


class ContractPrice(RatesRow):
    """A team's contract price for one product or all of them, from `effective_from` on.

    Either its factor multiplies the list price, or, with `has_own_rates`, its rates replace it.
    Once approved, only its end changes: usage records refer to it.
    """

    class State(models.TextChoices):
        """`pending` waits for a second person; only an approved contract has any effect."""

        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        CANCELED = "canceled"

    form_id = models.UUIDField(
        default=uuid.uuid4, unique=True, editable=False, help_text="A form sent twice adds one."
    )
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="contract_prices")
    product = models.ForeignKey(
        Product,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: all models, those to come included.",
    )
    has_own_rates = models.BooleanField(
        default=False, db_default=False, help_text="The rates replace the list price."
    )
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is ended.")
    reason = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    decided_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        permissions: ClassVar[Any] = [
            ("set_contractprice", "Can set and end contract prices"),
            ("approve_contractprice", "Can confirm contract prices that others requested"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("effective_from")),
                name="contractprice_ends_after_start",
            ),
            models.CheckConstraint(
                condition=models.Q(has_own_rates=False) | models.Q(product__isnull=False),
                name="contractprice_own_rates_have_product",
            ),
            models.CheckConstraint(
                condition=models.Q(factor_millionths__range=(SMALLEST_FACTOR, LARGEST_FACTOR)),
                name="contractprice_factor",
            ),
            models.CheckConstraint(
                condition=models.Q(state="pending", decided_at__isnull=True)
                | (~models.Q(state="pending") & models.Q(decided_at__isnull=False)),
                name="contractprice_decided_has_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["team", "effective_from"],
                condition=models.Q(state="approved"),
                name="contractprice_by_team",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team}, {self.covers}: {self.terms}"

    def clean(self) -> None:
        """Raise ValidationError for impossible rates, or a factor out of bounds."""
        super().clean()
        if not SMALLEST_FACTOR <= self.factor_millionths <= LARGEST_FACTOR:
            least, most = factor_text(SMALLEST_FACTOR), factor_text(LARGEST_FACTOR)
            message = f"A contract's factor must be from {least} to {most}."
            raise ValidationError({"factor_millionths": message})

    @property
    def covers(self) -> str:
        """The product's name, or that it is for all models."""
        return str(self.product) if self.product_id else "all models"

    @property
    def terms(self) -> str:
        """The factor as a percentage, or that there are own rates."""
        if self.has_own_rates:
            return _("own rates")
        percent = number_text(factor_text(self.factor_millionths * 100))
        return _("{percent}% of the list price").format(percent=percent)

    def applied_to(self, listed: Rates) -> Rates:
        """Return the contract's rates where the list price is `listed`."""
        if self.has_own_rates:
            return replace(self.rates, contract=self.pk)
        return with_factor(listed, self.pk, self.factor_millionths)

    def applies_at(self, moment: datetime) -> bool:
        """Return whether it applies at `moment` (aware)."""
        is_begun = self.effective_from <= moment
        is_ended = self.ends_at is not None and self.ends_at <= moment
        return self.state == self.State.APPROVED and is_begun and not is_ended

    @property
    def phase(self) -> str:
        """The state in a word, told by today's date once it is approved."""
        if self.state != self.State.APPROVED:
            return str(self.get_state_display()).lower()
        now = timezone.now()
        if self.applies_at(now):
            return "in force"
        return "ended" if self.has_begun else "upcoming"
