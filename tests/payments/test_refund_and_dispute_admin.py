"""Admin pages of refunds, disputes and fraud warnings."""

import uuid
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Team, User
from billing.models import Dispute, FraudWarning, Order, Refund
from billing.payments import disputes
from tests.cast import signed_in
from tests.payments.conftest import StripeStandIn
from tests.payments.refund_helpers import DOLLAR, posted, spend

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def refund_page(order: Order) -> str:
    return f"/admin/billing/order/{order.pk}/refund/"


def handle_page(kind: str, number: str) -> str:
    return f"/admin/billing/{kind}/{quote(number)}/handle/"


def form(**changes: str) -> dict[str, str]:
    return {"id": str(uuid.uuid4()), "amount": "4.00", "reason": "Asked for"} | changes


def test_an_order_is_refunded_from_its_page(
    staff: Client, order: Order, alices_team: Team, alice: User
) -> None:
    spend(alices_team, 3 * DOLLAR)
    detail = staff.get(reverse("admin:billing_order_change", args=[order.pk])).content.decode()
    assert refund_page(order) in detail
    page = staff.get(refund_page(order)).content.decode()
    assert "$10.00" in page
    assert 'value="7.00"' in page  # what is unspent

    answer = staff.post(refund_page(order), form(), follow=True)

    refund = Refund.objects.get()
    assert answer.redirect_chain[-1][0] == reverse("admin:billing_refund_change", args=[refund.pk])
    assert "The refund has been made." in answer.content.decode()
    assert (refund.amount_cents, refund.state, refund.reason) == (400, "succeeded", "Asked for")
    assert posted(alices_team) == 3 * DOLLAR
    entry = AuditEntry.objects.get(action="refund.requested")
    assert entry.actor_label == "staff"  # whose address is nothing to the team
    log = signed_in(alice).get("/team/audit").content.decode()
    assert f"Order {order.number}" in log
    assert "staff@example.com" not in log


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": "7.01"}, "Only $7.00 of this order is unspent."),
        ({"amount": "10.01"}, "Enter an amount up to $10.00"),
        ({"amount": "0"}, "Enter an amount up to $10.00"),
        ({"amount": "1.005"}, "Enter whole cents."),
        ({"amount": "much"}, "is not an amount in dollars"),
        ({"amount": ""}, "This field is required."),
        ({"reason": ""}, "This field is required."),
    ],
)
def test_errors_are_shown_at_their_field(
    staff: Client, order: Order, alices_team: Team, changes: dict[str, str], words: str
) -> None:
    spend(alices_team, 3 * DOLLAR)
    answer = staff.post(refund_page(order), form(**changes))
    (field,) = changes
    assert [words in error for error in answer.context["form"].errors[field]] == [True]
    assert not Refund.objects.exists()


def test_a_forced_refund_takes_what_is_there(
    staff: Client, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 9 * DOLLAR)
    staff.post(refund_page(order), form(amount="10", is_forced="on"))
    assert Refund.objects.get().is_forced
    assert posted(alices_team) == 0


def test_a_form_that_is_sent_twice_is_one_refund(staff: Client, order: Order) -> None:
    twice = form()
    for _ in range(2):
        assert staff.post(refund_page(order), twice).status_code == 302
    assert Refund.objects.count() == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [("error_before", "Stripe didn&#x27;t respond."), ("dispute", "Stripe rejected the refund:")],
)
def test_staff_see_stripes_answer(
    stand_in: StripeStandIn, staff: Client, order: Order, fault: str, words: str
) -> None:
    if fault == "dispute":
        stand_in.control("dispute", charge=order.charge_id)
    else:
        stand_in.control("fault", next=[fault] * 2)
    assert words in staff.post(refund_page(order), form(), follow=True).content.decode()


@pytest.mark.parametrize("page", ["refund", "dispute", "fraudwarning"])
def test_the_pages_require_permission(
    stand_in: StripeStandIn, order: Order, alice: User, page: str
) -> None:
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.control("fraud_warning", charge=order.charge_id)
    stand_in.deliver_all()
    found = {
        "refund": refund_page(order),
        "dispute": handle_page("dispute", Dispute.objects.get().pk),
        "fraudwarning": handle_page("fraudwarning", FraudWarning.objects.get().pk),
    }[page]
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    assert signed_in(clerk).get(found).status_code == 403
    assert signed_in(clerk).post(found, {"note": "x"}).status_code == 403
    assert signed_in(alice).get(found).status_code == 302
    needed = "add_refund" if page == "refund" else f"change_{page}"
    clerk.user_permissions.add(Permission.objects.get(codename=needed))
    assert signed_in(User.objects.get(pk=clerk.pk)).get(found).status_code == 200


def test_the_queue_is_handled_and_the_keys_resume(
    stand_in: StripeStandIn, staff: Client, order: Order, alices_team: Team
) -> None:
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.control("fraud_warning", charge=order.charge_id)
    stand_in.deliver_all()
    dispute, warning = Dispute.objects.get(), FraudWarning.objects.get()
    for kind, case in (("dispute", dispute), ("fraudwarning", warning)):
        queue = f"/admin/billing/{kind}/"
        assert case.pk in staff.get(queue, {"queue": "open"}).content.decode()
        assert case.pk not in staff.get(queue, {"queue": "handled"}).content.decode()
        detail = staff.get(f"{queue}{quote(case.pk)}/change/").content.decode()
        assert reverse("admin:billing_order_change", args=[order.pk]) in detail
        assert reverse("admin:accounts_team_change", args=[alices_team.pk]) in detail
    assert (
        "?q=" + dispute.pk in staff.get(f"/admin/billing/dispute/{quote(dispute.pk)}/change/").text
    )

    said = {"note": "Settled by phone", "resumes_keys": "on"}
    answer: Any = staff.post(handle_page("dispute", dispute.pk), said, follow=True)
    assert f"The keys stay paused because of {warning.pk}" in answer.content.decode()
    answer = staff.post(handle_page("fraudwarning", warning.pk), said, follow=True)
    assert "keys are active again" in answer.content.decode()

    alices_team.refresh_from_db()
    dispute.refresh_from_db()
    assert alices_team.suspended_at is None
    assert (dispute.note, dispute.handled_by) == (
        "Settled by phone",
        User.objects.get(email="staff@example.com"),
    )
    assert dispute.pk in staff.get("/admin/billing/dispute/", {"queue": "handled"}).text


def test_a_note_is_required_and_keys_kept_paused_become_a_suspension_by_staff(
    stand_in: StripeStandIn, staff: Client, order: Order, alices_team: Team
) -> None:
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.deliver_all()
    page = handle_page("dispute", Dispute.objects.get().pk)
    assert staff.post(page, {"note": " "}).context["form"].errors["note"]
    assert Dispute.objects.get().handled_at is None

    staff.post(page, {"note": "A stolen card"})

    alices_team.refresh_from_db()
    assert alices_team.suspended_reason == disputes.KEPT_PAUSED
