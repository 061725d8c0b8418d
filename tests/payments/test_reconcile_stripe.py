"""`manage.py reconcile_stripe` and the nightly task: their reports and alerts."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from billing.models import LedgerAlert, Order
from billing.payments import tasks
from tests.payments.conftest import StripeStandIn
from tests.payments.test_reconciliation import charge, let_it_have_been, order

__all__ = ["order"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def say(*options: str) -> str:
    out = StringIO()
    since = f"{timezone.now() - timedelta(days=1):%Y-%m-%d}"
    call_command("reconcile_stripe", "--since", since, *options, stdout=out)
    return out.getvalue()


def test_the_command_says_what_it_compared(stand_in: StripeStandIn, order: Order) -> None:
    shirt = charge(stand_in, amount=3000)
    let_it_have_been(stand_in, hours=0.01)

    said = say()

    assert "1 payments, refunds and disputes." in said
    assert "Stripe moved for us: $10.00" in said
    assert "The books say: $10.00" in said
    assert f"Not of this service: {shirt['id']}, $30.00" in said
    assert "DIFFERENCE" not in said


def test_the_command_says_each_difference_and_fails(stand_in: StripeStandIn, order: Order) -> None:
    stand_in.control("refund", charge=order.charge_id, amount=400)
    let_it_have_been(stand_in, hours=0.01)
    out = StringIO()

    with pytest.raises(CommandError, match="1 differences"):
        call_command("reconcile_stripe", "--since", "2026-01-01", stdout=out)

    assert "DIFFERENCE: Refund re_" in out.getvalue()


def test_the_command_gives_json_too(stand_in: StripeStandIn, order: Order) -> None:
    let_it_have_been(stand_in, hours=0.01)

    report = json.loads(say("--json"))

    assert (report["compared"], report["stripe_cents"], report["differences"]) == (1, 1000, [])


def test_the_command_wants_a_day_and_says_when_stripe_is_away(
    stand_in: StripeStandIn, settings: Any
) -> None:
    with pytest.raises(CommandError, match="YYYY-MM-DD"):
        call_command("reconcile_stripe", "--since", "yesterday")
    stand_in.control("fault", next=["error_before"] * 4)
    with pytest.raises(CommandError, match="Simulated failure"):
        say()
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(CommandError, match="not set up"):
        say()


def test_each_night_every_difference_raises_one_alert(
    stand_in: StripeStandIn, order: Order
) -> None:
    stand_in.control("refund", charge=order.charge_id, amount=400)
    assert tasks.reconcile_stripe() == 0  # too early: its webhook may be on its way
    let_it_have_been(stand_in, hours=3)

    assert tasks.reconcile_stripe() == 1
    assert tasks.reconcile_stripe() == 0

    alert = LedgerAlert.objects.get()
    assert alert.kind == "reconciliation"
    assert "Stripe moved -$4.00, the books say $0.00." in alert.detail


def test_the_nightly_task_bears_that_stripe_is_away_or_off(
    stand_in: StripeStandIn, settings: Any
) -> None:
    stand_in.control("fault", next=["error_before"] * 4)
    assert tasks.reconcile_stripe() == 0
    settings.STRIPE_SECRET_KEY = ""
    assert tasks.reconcile_stripe() == 0
