"""Estimated requests at an upstream, and its exports of them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from accounts.models import User
from billing.models import (
    CatalogueVersion,
    ContractPrice,
    PriceVersion,
    Product,
    UpstreamStatement,
    UsageRecord,
)
from billing.pricing.charge import Usage, charge_of
from billing.reconciliation import statements
from billing.reconciliation.export_file import Mapping
from tests.billing.ledger_calls import Customer, new_id, settle

HEADER = "request_id,created_at,model,input_tokens,cached_tokens,output_tokens,cost"
COLUMNS = {
    "request_id": "request_id",
    "time": "created_at",
    "model": "model",
    "input_tokens": "input_tokens",
    "cached_tokens": "cached_tokens",
    "output_tokens": "output_tokens",
    "cost": "cost",
}
# $2 and $10 per million: 2 and 10 micro-dollars a token.
INPUT_NANOS, OUTPUT_NANOS = 2_000, 10_000


def make_price(**rates: Any) -> PriceVersion:
    """Make a price version of a product of its own."""
    product = Product.objects.create(sku=new_id())
    rates = {
        "input_nanos_per_million": INPUT_NANOS * 10**6,
        "output_nanos_per_million": OUTPUT_NANOS * 10**6,
    } | rates
    begun = timezone.now() - timedelta(days=1)
    return PriceVersion.objects.create(product=product, effective_from=begun, **rates)


def serve(
    customer: Customer,
    upstream_id: str,
    *,
    price: PriceVersion | None = None,
    contract: ContractPrice | None = None,
    hold_nanos: int = 10_000_000,
    upstream: str = "maker",
    source: str = "estimated",
    input_tokens: int = 1000,
    output_tokens: int = 100,
    cached_tokens: int = 0,
    upstream_cost_nanos: int = 1_000_000,
    **end: Any,
) -> UsageRecord:
    """Serve a request at an upstream, by default with 1000 and 100 estimated tokens."""
    price = price or make_price()
    usage = Usage(
        input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens
    )
    rates = price.rates if contract is None else contract.applied_to(price.rates)
    charge = charge_of(rates, usage)
    customer.catalogue_version = CatalogueVersion.objects.get(pk=1).version
    ask = customer.admitted(amount_nanos=hold_nanos, price_version_id=price.pk)
    settle(
        customer.end(
            ask,
            price_version_id=price.pk,
            upstream=upstream,
            upstream_request_id=upstream_id,
            upstream_cost_nanos=upstream_cost_nanos,
            source=source,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            input_nanos=charge.input_nanos,
            cached_nanos=charge.cached_nanos,
            output_nanos=charge.output_nanos,
            units_nanos=charge.units_nanos,
            lines=tuple(charge.lines),
            **end,
        )
    )
    return customer.record(ask)


def line_of(
    request_id: str,
    input_tokens: int = 1000,
    output_tokens: int = 100,
    *,
    cached: int = 0,
    cost: str = "0.001",
    at: datetime | None = None,
    model: str = "maker-small",
) -> str:
    """Return a line of an export."""
    at = at or timezone.now()
    return f"{request_id},{at.isoformat()},{model},{input_tokens},{cached},{output_tokens},{cost}"


def day(date: str) -> datetime:
    """Return noon of a day."""
    return datetime.fromisoformat(f"{date}T12:00:00").replace(tzinfo=UTC)


def upload(user: User, lines: Iterable[str], *, upstream: str = "maker") -> UpstreamStatement:
    """Upload an export with these lines."""
    content = "\n".join([HEADER, *lines, ""]).encode()
    return statements.upload(user, upstream, "usage.csv", len(content), lambda: [content])[0]


def compared(user: User, lines: Iterable[str], *, upstream: str = "maker") -> UpstreamStatement:
    """Import an export with these lines, and return its statement once it is compared."""
    statement = upload(user, lines, upstream=upstream)
    statements.start(statement, user, Mapping(COLUMNS), "dollar")
    statement.refresh_from_db()
    assert statements.process(statement)
    statement.refresh_from_db()
    assert statement.state == "ready", statement.error
    return statement


def corrected(statement: UpstreamStatement, user: User) -> UpstreamStatement:
    """Confirm the statement's corrections, have them posted, and return the statement."""
    assert statement.compared_at is not None
    statements.confirm(statement, user, compared_at=statement.compared_at, reason="As billed")
    statement.refresh_from_db()
    statements.process(statement)
    statement.refresh_from_db()
    return statement
