"""Admin pages of payments: search by any identifier, and handling an event again."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import Team, User
from billing.models import Order, StripeEvent
from billing.payments import webhooks
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
    """A handled event."""
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


def test_staff_have_an_event_handled_again_which_is_logged(
    staff: Client, event: StripeEvent
) -> None:
    assert webhooks.due_event_ids() == []
    action = {"action": "handle_again", "_selected_action": [event.pk]}

    page = staff.post(url(StripeEvent, "changelist"), action, follow=True)

    assert "handled again within a minute" in page.content.decode()
    assert webhooks.due_event_ids() == [event.pk]
    assert LogEntry.objects.get().object_id == event.pk


def test_handling_an_event_again_requires_permission(event: StripeEvent) -> None:
    viewer = User.objects.create_user("viewer@example.com", "viewers secret", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_stripeevent"))
    action = {"action": "handle_again", "_selected_action": [event.pk]}

    signed_in(viewer).post(url(StripeEvent, "changelist"), action)

    assert webhooks.due_event_ids() == []
