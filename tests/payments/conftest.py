"""The Stripe simulator on its own port, delivery of its events, and fixtures of payments."""

import json
import threading
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
from billing.payments import orders, webhooks
from tests.payments import auto_top_up_helpers as helpers
from tests.stripe_simulator import StripeSimulator, running_simulator

SECRET = "whsec_only_for_tests"
PAGES = {"success_url": "http://testserver/paid", "cancel_url": "http://testserver/left"}


class StripeStandIn(StripeSimulator):
    """The simulator, whose events wait until a test delivers them through Django's client."""

    def get(self, path: str, **query: Any) -> Any:
        """Read the simulator's API."""
        answer = self.web.get(
            f"{self.url}/v1/{path}", params=query, headers={"authorization": "Bearer sk_test"}
        )
        return answer.raise_for_status().json()

    def create(self, path: str, **fields: Any) -> Any:
        """Create an object as another user of the same Stripe account would."""
        answer = self.web.post(
            f"{self.url}/v1/{path}",
            data=dict(_form("", fields)),
            headers={"authorization": "Bearer sk_test"},
        )
        return answer.raise_for_status().json()

    def events(self, *types: str) -> list[dict[str, Any]]:
        """Return the events so far, oldest first: all of them, or those of some types."""
        found = self.get("events", limit=100)["data"][::-1]
        return [event for event in found if not types or event["type"] in types]

    def post(self, event: dict[str, Any], secret: str = SECRET, at: int | None = None) -> Any:
        """Send an event to the webhook as Stripe would, and return the response."""
        payload = json.dumps(event)
        signature = stripe.WebhookSignature.generate_signature_header(payload, secret, at)
        return Client().post(
            "/webhooks/stripe",
            payload,
            content_type="application/json",
            headers={"Stripe-Signature": signature},
        )

    def deliver(self, *events: dict[str, Any]) -> list[StripeEvent]:
        """Deliver events in this order, handle each, and return the stored events."""
        for event in events:
            assert self.post(event).status_code == 200
            webhooks.handle(event["id"])
        return [StripeEvent.objects.get(pk=event["id"]) for event in events]

    def deliver_all(self) -> list[StripeEvent]:
        """Deliver all events so far, in the order in which they happened."""
        return self.deliver(*self.events())


@pytest.fixture(scope="session")
def _stand_in_url() -> Iterator[str]:
    with running_simulator() as url:
        yield f"{url}/stripe"


@pytest.fixture
def stand_in(_stand_in_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> StripeStandIn:
    """An empty simulator that the settings point to. Its events wait to be delivered."""
    settings.STRIPE_SECRET_KEY = "sk_test_simulated"
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.STRIPE_API_BASE = _stand_in_url
    monkeypatch.setattr(webhooks.handle_stripe_event, "delay", lambda event_id: None)
    found = StripeStandIn(_stand_in_url)
    found.control("forget")
    return found


@pytest.fixture
def books_are_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check the ledger's invariants after the test."""
    request.getfixturevalue("_django_db_helper")
    yield
    broken = {each.invariant.name: each.examples for each in invariants.check() if each.count}
    assert broken == {}


def _form(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield a form's fields as Stripe writes them: `line_items[0][quantity]`."""
    if not isinstance(value, dict | list):
        yield name, str(value)
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _form(f"{name}[{key}]" if name else str(key), each)


def run_concurrently(*works: Callable[[], Any]) -> list[Any]:
    """Run functions at once, each in a thread with its own connection. Return the results."""
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
    """Place an order and open its Checkout. Return the order and the page's URL."""
    order = orders.place(team, user, amount_cents)
    return order, orders.open_checkout(order, user, **PAGES)


def paid_order(stand_in: StripeStandIn, team: Team, user: User, cents: int = 1000) -> Order:
    """Return an order that is paid and credited. Its events are not delivered."""
    order, url = checkout(team, user, cents)
    stand_in.pay(url)
    order.refresh_from_db()
    order = orders.confirm(order)
    assert order.state == Order.State.PAID
    return order


@pytest.fixture
def order(stand_in: StripeStandIn, alices_team: Team, alice: User) -> Order:
    """A paid order of $10 of credits."""
    return paid_order(stand_in, alices_team, alice)


@pytest.fixture
def taxed_order(stand_in: StripeStandIn, alices_team: Team, alice: User, settings: Any) -> Order:
    """A paid order of $9.99 of credits, with 10% tax."""
    settings.STRIPE_TAX = True
    order = paid_order(stand_in, alices_team, alice, 999)
    assert order.tax_cents == 100
    return order


@pytest.fixture
def clerk(db: None) -> User:
    """A member of the operator's staff."""
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
    """Make a plan with an offer; amounts are dollars."""
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
    """Alice's team with a balance of $3, a saved card, and auto top-up of $10 below $5."""
    helpers.keep_card(stand_in, alices_team, alice)
    postings.grant(alices_account, 3 * helpers.DOLLAR, reference="three dollars")
    helpers.enable_auto_top_up(alices_team)
    return alices_team
