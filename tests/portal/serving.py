"""Requests that were served, and transfers of days gone by, for the pages' tests."""

import re
from datetime import UTC, datetime
from typing import Any

from django.test import Client

from billing.ledger import postings
from billing.models import (
    CatalogueVersion,
    CreditAccount,
    PriceVersion,
    Product,
    Transfer,
    UsageRecord,
)
from tests.billing.ledger_calls import Customer, settle
from tests.cast import IssuedKey

DOLLAR = 1_000_000_000
NOON = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)


def price_version(**prices: Any) -> PriceVersion:
    """Make a price version of a product of its own."""
    product = Product.objects.create(sku=f"product-{Product.objects.count()}")
    return PriceVersion.objects.create(
        product=product, effective_from=datetime.fromisoformat("2026-01-01T00:00:00Z"), **prices
    )


def customer_of(account: CreditAccount, issued: IssuedKey, credit_nanos: int = 0) -> Customer:
    """Return a member of the cast as the ledger's tests know customers, with credit."""
    if credit_nanos:
        postings.grant(account, credit_nanos, reference=f"grant {account.pk}", memo="Welcome")
    version = CatalogueVersion.objects.get(pk=1).version
    return Customer(issued.key.team, account, issued.key, version)


def serve(
    customer: Customer, *, at: str = "", hold_nanos: int = 10_000, model: str = "small", **end: Any
) -> UsageRecord:
    """Serve one request to its end and return its record, which is moved to the time `at`."""
    price_id = end.setdefault("price_version_id", 1)
    # A price that the test has made since is a newer catalogue.
    customer.catalogue_version = CatalogueVersion.objects.get(pk=1).version
    ask = customer.admitted(amount_nanos=hold_nanos, model=model, price_version_id=price_id)
    settle(customer.end(ask, model=model, **end))
    record = UsageRecord.objects.filter(pk=ask.request_id)
    if at:
        record.update(created_at=datetime.fromisoformat(at))
    return record.get()


def book(account: CreditAccount, at: str, kind: str, amount_nanos: int, **fields: Any) -> Transfer:
    """Write a transfer of another day, as the ledger's functions would have then.

    A positive amount is a credit to the customer.
    """
    account.refresh_from_db()
    sequence, balance = account.last_sequence + 1, account.posted_nanos + amount_nanos
    other = CreditAccount.objects.get(kind=CreditAccount.Kind.ADJUSTMENTS)
    sides = (other, account) if amount_nanos > 0 else (account, other)
    made = Transfer.objects.create(
        kind=kind,
        reference=fields.pop("reference", f"{account.pk}-{sequence}"),
        debit_account=sides[0],
        credit_account=sides[1],
        amount_nanos=abs(amount_nanos),
        customer=account,
        sequence=sequence,
        balance_nanos=fields.pop("balance_nanos", balance),
        created_at=datetime.fromisoformat(at),
        **fields,
    )
    CreditAccount.objects.filter(pk=account.pk).update(posted_nanos=balance, last_sequence=sequence)
    return made


def request_page(browser: Client, request_id: object) -> str:
    """Return the HTML of a request's page, its white space joined and the sign of products an x."""
    answer = browser.get(f"/usage/requests/{request_id}")
    assert answer.status_code == 200
    text = answer.content.decode().replace('<span class="nowrap">\u00d7', "x")
    return re.sub(r"\s+", " ", text)
