"""An order's way to Stripe's page: one order, one session, whatever is sent twice or goes wrong."""

import uuid
from typing import Any

import pytest

from accounts.models import Team, User
from billing.errors import PaymentsDisabledError, StripeError, StripeRejectedError
from billing.models import Order, PaymentCustomer
from billing.payments import customers, orders
from billing.stripe_api import checkout as stripe_checkout
from billing.usage.balances import balance_of
from tests.payments.conftest import PAGES, StripeStandIn, checkout, run_concurrently

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

FAULTS = ["error_before", "error_after", "error_kept", "hang_before", "hang_after", "rate_limit"]


def sessions(stand_in: StripeStandIn) -> list[Any]:
    found: list[Any] = stand_in.get("checkout/sessions", limit=100)["data"]
    return found


def click(team: Team, user: User, order_id: uuid.UUID) -> str:
    """Send the form of the billing page."""
    order = orders.place(team, user, 1000, order_id)
    return orders.open_checkout(order, user, **PAGES)


def click_until_it_works(team: Team, user: User, order_id: uuid.UUID) -> str:
    for _ in range(5):
        try:
            return click(team, user, order_id)
        except StripeError:
            continue
    raise AssertionError("five clicks led nowhere")


def test_a_form_that_is_sent_twenty_times_is_one_order_and_one_session(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order_id = uuid.uuid4()

    pages = {click(alices_team, alice, order_id) for _ in range(20)}

    assert len(pages) == 1
    assert len(sessions(stand_in)) == 1
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_twenty_times_at_once_is_one_order_and_one_session(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order_id = uuid.uuid4()

    pages = set(run_concurrently(*[lambda: click(alices_team, alice, order_id)] * 20))

    assert len(pages) == 1
    assert len(sessions(stand_in)) == 1
    assert Order.objects.count() == 1
    assert len(stand_in.get("customers", limit=100)["data"]) == 1
    assert PaymentCustomer.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_members_who_are_the_first_to_pay_at_once_share_one_customer(
    stand_in: StripeStandIn, alice: User, bob: User, alices_team: Team
) -> None:
    found = run_concurrently(*[
        lambda user=user: customers.get_or_create_customer(alices_team, user).stripe_id
        for user in (alice, bob) * 5
    ])  # fmt: skip

    assert set(found) == {PaymentCustomer.objects.get().stripe_id}


@pytest.mark.parametrize("call", ["POST /v1/customers", "POST /v1/checkout/sessions"])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_any_failure_another_click_leads_to_the_orders_one_session(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    settings: Any,
    fault: str,
    call: str,
) -> None:
    before = balance_of(alices_team).posted_nanos
    settings.STRIPE_TIMEOUT_SECONDS = 0.5
    stand_in.control("fault", next=[fault] * 3, call=call, hang_seconds=0.8)
    order_id = uuid.uuid4()

    page = click_until_it_works(alices_team, alice, order_id)

    settings.STRIPE_TIMEOUT_SECONDS = 10
    (session,) = sessions(stand_in)
    assert session["url"] == page
    order = Order.objects.get()
    assert (order.pk, order.session_id) == (order_id, session["id"])
    stand_in.pay(page)
    assert orders.confirm(order).state == Order.State.PAID
    assert len(stand_in.get("charges")["data"]) == 1
    assert balance_of(alices_team).posted_nanos - before == 10 * 10**9


def test_a_replayed_failure_is_overcome_with_another_key(
    stand_in: StripeStandIn, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if Stripe had failed before it made the session: its stand-in always makes one.
    monkeypatch.setattr(stripe_checkout, "find_session", lambda **_: None)
    call = "POST /v1/checkout/sessions"
    stand_in.control("fault", next=["error_kept"], call=call)
    order_id = uuid.uuid4()

    assert click(alices_team, alice, order_id) == click(alices_team, alice, order_id)

    keys = [each["idempotency_key"] for each in stand_in.control("calls")]
    keys = [key for key in keys if str(order_id) in key]
    assert keys[0] == f"order-{order_id}" not in keys[-1:]


def test_a_process_that_dies_with_stripes_answer_leaves_the_order_to_the_next_click(
    stand_in: StripeStandIn, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = uuid.uuid4()
    monkeypatch.setattr(orders, "failpoint", _dies)
    with pytest.raises(KeyboardInterrupt):
        click(alices_team, alice, order_id)
    monkeypatch.undo()
    assert Order.objects.get().session_id is None

    page = click(alices_team, alice, order_id)

    assert [session["url"] for session in sessions(stand_in)] == [page]


def test_a_second_caller_gets_the_orders_existing_session(
    stand_in: StripeStandIn, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = orders.place(alices_team, alice, 1000)
    customer_id = customers.get_or_create_customer(alices_team, alice).stripe_id
    ours = stripe_checkout.create_payment_session(
        order_id=str(order.pk), customer_id=customer_id, amount_cents=1000, title="API credits",
        retry="twin", **PAGES,
    )  # fmt: skip

    def meanwhile(_point: str) -> None:
        Order.objects.update(session_id=ours.id)

    monkeypatch.setattr(orders, "failpoint", meanwhile)

    assert orders.open_checkout(order, alice, **PAGES) == ours.url


def test_an_order_that_is_over_has_no_page(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order, page = checkout(alices_team, alice)
    stand_in.pay(page)
    orders.confirm(order)
    assert orders.open_checkout(order, alice, **PAGES) == ""

    never_opened = orders.place(alices_team, alice, 1000)
    Order.objects.filter(pk=never_opened.pk).update(state=Order.State.EXPIRED)
    assert orders.open_checkout(never_opened, alice, **PAGES) == ""


def test_an_order_that_stripe_rejects_stays_open(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    order = orders.place(alices_team, alice, 1000)

    with pytest.raises(StripeRejectedError, match="URL"):
        orders.open_checkout(order, alice, success_url="nowhere", cancel_url="nowhere")

    assert orders.open_checkout(order, alice, **PAGES)


@pytest.mark.parametrize("amount_cents", [-1000, 0, 499, 1_000_001])
def test_amounts_that_are_not_sold_are_refused(
    alice: User, alices_team: Team, amount_cents: int
) -> None:
    with pytest.raises(orders.OrderError, match=r"from \$5 to \$10,000"):
        orders.place(alices_team, alice, amount_cents)


def test_an_order_is_neither_taken_over_by_another_team_nor_changed_by_another_amount(
    alice: User, alices_team: Team, charlie: User, charlies_team: Team
) -> None:
    order = orders.place(alices_team, alice, 1000)

    for team, user, amount_cents in [(charlies_team, charlie, 1000), (alices_team, alice, 2000)]:
        with pytest.raises(orders.OrderError):
            orders.place(team, user, amount_cents, order.pk)

    order.refresh_from_db()
    assert (order.team, order.amount_cents) == (alices_team, 1000)


def test_without_a_key_nothing_is_sold(alice: User, alices_team: Team, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    order = orders.place(alices_team, alice, 1000)

    with pytest.raises(PaymentsDisabledError):
        orders.open_checkout(order, alice, **PAGES)


def _dies(_point: str) -> None:
    raise KeyboardInterrupt
