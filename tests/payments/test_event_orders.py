"""The order of Stripe's events makes no difference: same balance, same rows."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from accounts.models import Team, User
from billing.models import Order
from tests.payments.conftest import StripeStandIn, checkout
from tests.payments.plan_helpers import rolled_back
from tests.payments.refund_helpers import DOLLAR, spend, state_of
from tests.support.sampling import half_of, sampled

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

Event = dict[str, Any]
CENTS = 1001  # with ten per cent of tax no part of it comes out even


@dataclass
class Story:
    """The history of one payment at Stripe, step by step, with the events of each step."""

    stand_in: StripeStandIn
    url: str
    charge: str = ""
    refund: str = ""
    dispute: str = ""

    def pay(self) -> None:
        """The customer pays."""
        self.stand_in.pay(self.url)
        (charge,) = self.stand_in.get("charges", limit=1)["data"]
        self.charge = charge["id"]
        self.age(self.charge, 100)

    def refund_a_part(self) -> None:
        """Staff refund a part in Stripe's dashboard."""
        self.refund = self.stand_in.control("refund", charge=self.charge, amount=333)["id"]
        self.age(self.refund, 80)

    def refund_the_rest(self) -> None:
        """And then the rest."""
        self.stand_in.control("refund", charge=self.charge)

    def fail_the_refund(self) -> None:
        """The bank sends the refund back."""
        self.stand_in.control("finish_refund", refund=self.refund, status="failed")

    def open_a_dispute(self) -> None:
        """The cardholder disputes what is left."""
        created = self.stand_in.control("dispute", charge=self.charge)
        self.dispute = created["id"]
        self.age(created["balance_transactions"][0]["id"], 60)

    def win(self) -> None:
        """The dispute is won."""
        self.stand_in.control("close_dispute", dispute=self.dispute, won=True)

    def lose(self) -> None:
        """The dispute is lost."""
        self.stand_in.control("close_dispute", dispute=self.dispute, won=False)

    def do(self, step: "Step") -> list[Event]:
        """Take a step, and return its events."""
        known = {event["id"] for event in self.stand_in.events()}
        step(self)
        return [event for event in self.stand_in.events(*EVENT_TYPES) if event["id"] not in known]

    def age(self, number: str, seconds: int) -> None:
        """Let time pass since something: Stripe's clock has seconds, and the test has none."""
        self.stand_in.control("age", id=number, seconds=seconds)


Step = Callable[[Story], None]
Begin = Callable[[], tuple[Order, Story]]
STORIES: dict[str, list[Step]] = {
    "part refunded, dispute won": [
        *(Story.pay, Story.refund_a_part, Story.open_a_dispute, Story.win)
    ],
    "part refunded, dispute lost": [
        *(Story.pay, Story.refund_a_part, Story.open_a_dispute, Story.lose)
    ],
    "dispute won, then refunded": [
        *(Story.pay, Story.open_a_dispute, Story.win, Story.refund_the_rest)
    ],
    "refund fails, the rest refunded": [
        *(Story.pay, Story.refund_a_part, Story.fail_the_refund, Story.refund_the_rest)
    ],
    "refund fails in a dispute": [
        *(Story.pay, Story.refund_a_part, Story.open_a_dispute, Story.fail_the_refund)
    ],
}
# One of each kind of event; the handlers of the others do the same.
EVENT_TYPES = (
    *("checkout.session.completed", "refund.created", "refund.failed"),
    *("charge.dispute.created", "charge.dispute.closed"),
)


@pytest.fixture
def begin(stand_in: StripeStandIn, alices_team: Team, alice: User, settings: Any) -> Begin:
    """Place an order, which is the beginning of a story."""
    settings.STRIPE_TAX = True

    def do() -> tuple[Order, Story]:
        stand_in.control("forget")
        order, url = checkout(alices_team, alice, CENTS)
        return order, Story(stand_in, url)

    return do


def delivered_in_time(begin: Begin, steps: list[Step]) -> dict[str, Any]:
    """Return the result of a story whose events are delivered as they happen."""
    with rolled_back():
        order, story = begin()
        for step in steps:
            story.stand_in.deliver(*story.do(step))
        return state_of(order)


@pytest.mark.parametrize("name", half_of("events at the end", list(STORIES)))
def test_events_delivered_at_the_end_in_any_order_have_the_same_result(
    begin: Begin, name: str
) -> None:
    expected = delivered_in_time(begin, STORIES[name])
    order, story = begin()
    events = [event for step in STORIES[name] for event in story.do(step)]
    assert len(events) >= 3

    for permutation in sampled(itertools.permutations(events), 6):
        with rolled_back():
            story.stand_in.deliver(*permutation)
            assert state_of(order) == expected, [event["type"] for event in permutation]


@pytest.mark.parametrize("name", half_of("events in time", list(STORIES)))
def test_events_delivered_in_time_or_after_all_others_have_the_same_result(
    begin: Begin, name: str
) -> None:
    steps = STORIES[name]
    expected = delivered_in_time(begin, steps)
    last = len(steps) - 1
    delays = itertools.product(*[{now, last} for now in range(len(steps))])
    for delivered_at in sampled(delays, 4):
        with rolled_back():
            order, story = begin()
            waiting: list[tuple[int, Event]] = []
            for now, step in enumerate(steps):
                waiting += [(delivered_at[now], event) for event in story.do(step)]
                due = [event for at, event in waiting if at == now]
                story.stand_in.deliver(*due[::-1])
            assert state_of(order) == expected, delivered_at


@pytest.mark.parametrize("name", list(STORIES)[:2])
def test_the_debt_for_spent_credit_is_the_same_in_any_order(begin: Begin, name: str) -> None:
    order, story = begin()
    first, *rest = STORIES[name]
    story.stand_in.deliver(*story.do(first))
    spend(order.team, 9 * DOLLAR)
    events = [event for step in rest for event in story.do(step)]
    assert len(events) >= 3
    expected = None
    for permutation in sampled(itertools.permutations(events), 4):
        with rolled_back():
            story.stand_in.deliver(*permutation)
            found = state_of(order)
        expected = expected or found
        assert found == expected, [(event["type"], event["id"]) for event in permutation]
