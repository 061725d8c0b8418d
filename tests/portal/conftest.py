"""What many pages' tests begin with; the stand-in for Stripe is that of the tests of payments."""

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from billing.models import CreditAccount
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, signed_in
from tests.payments.conftest import _stand_in_url, books_are_right, plus, pro, stand_in
from tests.portal.serving import DOLLAR, NOON, customer_of

__all__ = ["_stand_in_url", "books_are_right", "plus", "pro", "stand_in"]


@pytest.fixture
def browser(alice: User) -> Client:
    """A browser in which Alice is signed in."""
    return signed_in(alice)


@pytest.fixture
def customer(alices_account: CreditAccount, alices_key: IssuedKey) -> Customer:
    """Alice's key, with $5 to spend."""
    return customer_of(alices_account, alices_key, 5 * DOLLAR)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be `NOON` for the pages."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)
