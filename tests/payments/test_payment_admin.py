"""Staff's pages for payments: found by what people have of them, and an event handled again."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import Team, User
from billing.models import Order, StripeEvent
from billing.payments import inbox
from tests.cast import signed_in
from tests.config.test_admin import url

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(alice: User, alices_team: Team) -> Order:
    """An order of $12.50 that is open."""
    return Order.objects.create(
        team=alices_team, user=alice, amount_cents=1250, credit_nanos=12_500_000_000, is_live=False
    )


@pytest.fixture
def event(db: None) -> StripeEvent:
    """An event that came to something."""
    return StripeEvent.objects.create(
        id="evt_1",
        type="checkout.session.completed",
        object_id="cs_1",
        created_at=timezone.now(),
        state=StripeEvent.State.HANDLED,
    )


def test_an_order_is_shown_in_dollars_and_found_by_what_people_have_of_it(
    staff: Client, order: Order
) -> None:
    order.payment_intent_id = "pi_1"
    order.save()
    for text in (order.number, order.number.lower(), str(order.pk), "pi_1", "alice@example.com"):
        page = staff.get(url(Order, "changelist"), {"q": text}).content.decode()
        assert order.number in page, text
        assert "$12.50" in page
    page = staff.get(url(Order, "changelist"), {"q": "pi_2"}).content.decode()
    assert order.number not in page


def test_staff_have_an_event_handled_again_and_that_is_written_down(
    staff: Client, event: StripeEvent
) -> None:
    assert inbox.due_events() == []
    action = {"action": "handle_again", "_selected_action": [event.pk]}

    page = staff.post(url(StripeEvent, "changelist"), action, follow=True)

    assert "handled within a minute" in page.content.decode()
    assert inbox.due_events() == [event.pk]
    assert LogEntry.objects.get().object_id == event.pk


def test_who_may_only_look_has_no_event_handled(event: StripeEvent) -> None:
    viewer = User.objects.create_user("viewer@example.com", "viewers secret", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_stripeevent"))
    action = {"action": "handle_again", "_selected_action": [event.pk]}

    signed_in(viewer).post(url(StripeEvent, "changelist"), action)

    assert inbox.due_events() == []
