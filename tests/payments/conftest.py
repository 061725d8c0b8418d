"""A stand-in for Stripe on a port of its own, and what a test does to it and hears from it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe
from django.db import connections
from django.test import Client

from accounts.models import Plan, Team, User
from billing.ledger import invariants, postings
from billing.models import CreditAccount, Order, PlanOffer, StripeEvent
from billing.payments import inbox, orders
from tests.payments import cards
from tests.stripe_simulator import StripeSimulator, running_simulator

SECRET = "whsec_only_for_tests"
PAGES = {"success_url": "http://testserver/paid", "cancel_url": "http://testserver/left"}


class StripeStandIn(StripeSimulator):
    """The stand-in whose events wait until a test tells them to Django's client."""

    def get(self, path: str, **query: Any) -> Any:
        """Reads the stand-in's API."""
        answer = self.web.get(
            f"{self.url}/v1/{path}", params=query, headers={"authorization": "Bearer sk_test"}
        )
        return answer.raise_for_status().json()

    def create(self, path: str, **fields: Any) -> Any:
        """Makes an object as another user of the same Stripe account would."""
        answer = self.web.post(
            f"{self.url}/v1/{path}",
            data=dict(_form("", fields)),
            headers={"authorization": "Bearer sk_test"},
        )
        return answer.raise_for_status().json()

    def events(self, *types: str) -> list[dict[str, Any]]:
        """Returns the events so far, the oldest first; all, or those of some types."""
        found = self.get("events", limit=100)["data"][::-1]
        return [event for event in found if not types or event["type"] in types]

    def post(self, event: dict[str, Any], secret: str = SECRET, at: int | None = None) -> Any:
        """Sends an event to the webhook as Stripe would, and returns the answer."""
        payload = json.dumps(event)
        signature = stripe.WebhookSignature.generate_signature_header(payload, secret, at)
        return Client().post(
            "/webhooks/stripe",
            payload,
            content_type="application/json",
            headers={"Stripe-Signature": signature},
        )

    def tell(self, *events: dict[str, Any]) -> list[StripeEvent]:
        """Sends events, in this order, has each handled, and returns what became of them."""
        for event in events:
            assert self.post(event).status_code == 200
            inbox.handle(event["id"])
        return [StripeEvent.objects.get(pk=event["id"]) for event in events]

    def tell_everything(self) -> list[StripeEvent]:
        """Sends all events so far, as they happened."""
        return self.tell(*self.events())


@pytest.fixture(scope="session")
def _stand_in_url() -> Iterator[str]:
    with running_simulator() as url:
        yield f"{url}/stripe"


@pytest.fixture
def stand_in(_stand_in_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> StripeStandIn:
    """An empty stand-in for Stripe, which the settings lead to. Events wait to be told."""
    settings.STRIPE_SECRET_KEY = "sk_test_simulated"
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.STRIPE_API_BASE = _stand_in_url
    monkeypatch.setattr("billing.payments.views.handle_stripe_event.delay", lambda event_id: None)
    found = StripeStandIn(_stand_in_url)
    found.control("forget")
    return found


@pytest.fixture
def books_are_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """Proves the invariants after the test."""
    request.getfixturevalue("_django_db_helper")
    yield
    broken = {each.invariant.name: each.examples for each in invariants.check() if each.count}
    assert broken == {}


def wait_until(holds: Any, seconds: float = 10) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def _form(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yields a form's fields as Stripe writes them: `line_items[0][quantity]`."""
    if not isinstance(value, dict | list):
        yield name, str(value)
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _form(f"{name}[{key}]" if name else str(key), each)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Does things at once, each in a thread with a connection of its own; returns the results."""
    start = threading.Barrier(len(works))

    def do(work: Callable[[], Any]) -> Any:
        start.wait(30)
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(do, works))


def checkout(team: Any, user: Any, amount_cents: int = 1000) -> tuple[Order, str]:
    """Places an order and opens its Checkout; returns both."""
    order = orders.place(team, user, amount_cents)
    return order, orders.open_checkout(order, user, **PAGES)


def paid_order(stand_in: StripeStandIn, team: Team, user: User, cents: int = 1000) -> Order:
    """Returns an order that was paid and credited; its events are not told."""
    order, url = checkout(team, user, cents)
    stand_in.pay(url)
    order.refresh_from_db()
    order = orders.confirm(order)
    assert order.state == Order.State.PAID
    return order


@pytest.fixture
def order(stand_in: StripeStandIn, alices_team: Team, alice: User) -> Order:
    """Ten dollars' worth of credits, paid."""
    return paid_order(stand_in, alices_team, alice)


@pytest.fixture
def taxed_order(stand_in: StripeStandIn, alices_team: Team, alice: User, settings: Any) -> Order:
    """$9.99 worth of credits, with ten per cent of tax."""
    settings.STRIPE_TAX = True
    order = paid_order(stand_in, alices_team, alice, 999)
    assert order.tax_cents == 100
    return order


@pytest.fixture
def clerk(db: None) -> User:
    """Somebody of the operator's staff."""
    return User.objects.create_user("clerk@example.com", name="Casey", is_staff=True)


@pytest.fixture
def plus(db: None) -> PlanOffer:
    """$20 a month for $25 of credits, and more limits than the default plan's."""
    return make_offer("plus", 20, 25, requests_per_minute=300)


@pytest.fixture
def pro(db: None) -> PlanOffer:
    """$100 a month for $130 of credits."""
    return make_offer("pro", 100, 130, requests_per_minute=900)


def make_offer(name: str, price: int, credit: int, **limits: Any) -> PlanOffer:
    """Makes a plan with an offer; amounts are dollars."""
    plan, _ = Plan.objects.update_or_create(
        name=name, defaults={"title": name.capitalize(), "tokens_per_minute": 1_000_000, **limits}
    )
    return PlanOffer.objects.create(
        plan=plan, price_cents=price * 100, credit_nanos=credit * 10**9, credit_days=31
    )


@pytest.fixture
def low(
    stand_in: StripeStandIn, alice: User, alices_team: Team, alices_account: CreditAccount
) -> Team:
    """Alice's team: $3 left, a card on file, $10 to be bought below $5."""
    cards.keep_card(stand_in, alices_team, alice)
    postings.grant(alices_account, 3 * cards.DOLLAR, reference="three dollars")
    cards.wish(alices_team)
    return alices_team
