"""What many pages' tests begin with; the simulated Stripe is that of the tests of payments.

Browsers are Django test clients: `browser` is Alice's, signed in; `password_browser` hers too, with
her password entered just now, so that no page asks for it again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from billing.models import CreditAccount
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, signed_in
from tests.payments.conftest import _stand_in_url, books_are_right, plus, pro, stand_in
from tests.portal.alert_receiver import Receiver
from tests.portal.keys_pages import load_catalogue
from tests.portal.serving import DOLLAR, NOON, customer_of

ALICES_PASSWORD = "alices secret"

__all__ = ["_stand_in_url", "books_are_right", "plus", "pro", "stand_in"]


@pytest.fixture
def browser(alice: User) -> Client:
    """A browser in which Alice is signed in."""
    return signed_in(alice)


@pytest.fixture
def password_browser(alice: User) -> Client:
    """A browser in which Alice has signed in by password and just confirmed it."""
    alice.emailaddress_set.update(verified=True)
    client = Client()
    client.post("/accounts/login/", {"login": alice.email, "password": ALICES_PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": ALICES_PASSWORD})
    return client


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that loads a shipped catalogue by its name."""
    return partial(load_catalogue, monkeypatch)


@pytest.fixture
def default_catalogue(catalogue: Callable[[str], None]) -> None:
    """Load the default catalogue."""
    catalogue("default")


@pytest.fixture
def customer(alices_account: CreditAccount, alices_key: IssuedKey) -> Customer:
    """Alice's key, with $5 to spend."""
    return customer_of(alices_account, alices_key, 5 * DOLLAR)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be `NOON` for the pages."""
    monkeypatch.setattr(timezone, "now", lambda: NOON)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A web server of the operator's, which UPSTREAM_HOSTS allows."""
    settings.UPSTREAM_HOSTS = ["*", "127.0.0.1"]
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()
