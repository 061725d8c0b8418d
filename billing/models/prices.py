"""What things cost: products, their price versions, and the catalogue's version."""

from functools import partial

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS, check_extra_rates
from billing.pricing.rates import (
    ContextTier,
    Rates,
    check_context_tiers,
    check_factor,
    check_service_tiers,
)


class Product(models.Model):
    """What is sold: one model's work, under the name that usage and prices refer to."""

    sku = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.sku


class RatesRow(models.Model):
    """The columns of rates from one moment on: what customers pay, or what an upstream charges.

    Token rates are nano-dollars per million tokens, so $0.0375 per million is exact; the others are
    nano-dollars per piece. Components without columns have theirs in `extra_rates`, by name.

    A factor multiplies all of them, in millionths. `context_tiers` are objects with
    `above_input_tokens` and `rates`, the nano-dollars by component of requests with a longer input
    (`ContextTier`); `service_tiers` has a further factor, in millionths, for each tier's name.
    """

    effective_from = models.DateTimeField()
    input_nanos_per_million = models.PositiveBigIntegerField(default=0)
    cached_input_nanos_per_million = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Empty: cached input costs as much as input."
    )
    output_nanos_per_million = models.PositiveBigIntegerField(default=0)
    reasoning_nanos_per_million = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Empty: reasoning costs as much as output."
    )
    image_nanos = models.PositiveBigIntegerField(default=0, help_text="Per image made.")
    second_nanos = models.PositiveBigIntegerField(default=0, help_text="Per second made.")
    piece_nanos = models.PositiveBigIntegerField(default=0, help_text="Per video or other piece.")
    request_nanos = models.PositiveBigIntegerField(default=0, help_text="Per answered request.")
    extra_rates = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="Of the components without columns, by name.",
    )
    factor_millionths = models.PositiveIntegerField(
        default=ONE,
        db_default=ONE,
        help_text="Multiplies every rate, as a contract or a batch does.",
    )
    context_tiers = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text="Rates for requests with more than so many input tokens.",
    )
    service_tiers = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="The factor of each service tier that can be asked for.",
    )
    source = models.CharField(max_length=200, blank=True, help_text="Where the figures are from.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Raise ValidationError for rates of unknown components, and for impossible tiers."""
        for field, check in (
            ("extra_rates", check_extra_rates),
            ("factor_millionths", check_factor),
            ("context_tiers", check_context_tiers),
            ("service_tiers", partial(check_service_tiers, self.factor_millionths)),
        ):
            try:
                check(getattr(self, field))
            except ValueError as error:
                raise ValidationError({field: str(error)}) from None

    @property
    def rates(self) -> Rates:
        """The rates: a part without one of its own costs what its whole does."""
        columns = {}
        for component in COMPONENTS.values():
            if component.field:
                nanos = getattr(self, component.rate_column)
                whole = COMPONENTS[component.part_of] if nanos is None else component
                columns[component.rate_column] = getattr(self, whole.rate_column)
        return Rates(
            **columns,
            extra=self.extra_rates,
            factor_millionths=self.factor_millionths,
            context_tiers=tuple(ContextTier(**tier) for tier in self.context_tiers),
            service_tiers=self.service_tiers,
        )

    @property
    def has_begun(self) -> bool:
        """Whether the row is in force, or was: then it is never changed."""
        return self.effective_from <= timezone.now()


class PriceVersion(RatesRow):
    """A product's prices from one moment on. One in use is never changed: a new one follows.

    What upstreams charge belongs to the route (`api.models.RouteCost`). The columns of costs that
    this table still has are the last release's.
    """

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="price_versions")
    announces = models.BooleanField(
        "announce",
        default=False,
        db_default=False,
        help_text=(
            "Before it applies: email the teams that used the model in the last 30 days, and show "
            "the change in their dashboards."
        ),
    )

    class Meta:
        ordering = ["product", "-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["product", "effective_from"], name="price_one_version_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.product} from {self.effective_from:%Y-%m-%d %H:%M}"


class CatalogueVersion(models.Model):
    """One row that counts the changes of models, routes and prices; triggers advance it."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="catalogueversion_one_row")
        ]

    def __str__(self) -> str:
        return str(self.version)
