"""`/webhooks/stripe`: signed events are stored once; anything else is refused without a query."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from kombu.exceptions import OperationalError

from accounts.models import Team, User
from billing.models import Order, StripeEvent, Transfer
from billing.payments import tasks, webhooks
from billing.payments.webhooks import HANDLERS, handle_stripe_event
from tests.payments.conftest import SECRET, StripeStandIn, checkout, run_concurrently

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

ROOT = Path(__file__).resolve().parents[2]
EVENT = {
    "id": "evt_forged",
    "object": "event",
    "type": "checkout.session.completed",
    "created": 1_790_000_000,
    "livemode": False,
    "data": {"object": {"id": "cs_test_forged", "object": "checkout.session"}},
}


def post(payload: bytes, header: str | None) -> Any:
    return Client().post(
        "/webhooks/stripe",
        payload,
        content_type="application/json",
        headers={} if header is None else {"Stripe-Signature": header},
    )


def signed(payload: bytes, *, secret: str = SECRET, at: float | None = None) -> str:
    """Return the header that Stripe would send with a body."""
    text = payload.decode("utf-8", "surrogateescape")
    header: str = stripe.WebhookSignature.generate_signature_header(
        text, secret, None if at is None else int(at)
    )
    return header


def with_event(**changes: Any) -> tuple[bytes, str]:
    payload = json.dumps(EVENT | changes).encode()
    return payload, signed(payload)


def with_header(make: Callable[[bytes], str | None]) -> tuple[bytes, str | None]:
    payload = json.dumps(EVENT).encode()
    return payload, make(payload)


def with_body(payload: bytes) -> tuple[bytes, str]:
    return payload, signed(payload)


BODY = json.dumps(EVENT).encode()
NOW = time.time()
FORGED: dict[str, tuple[bytes, str | None]] = {
    "signed with the empty secret": (BODY, signed(BODY, secret="")),
    "signed with another secret": (BODY, signed(BODY, secret="whsec_of_somebody_else")),
    "signed for another body": (BODY.replace(b"forged", b"changed"), signed(BODY)),
    "signed long ago": (BODY, signed(BODY, at=NOW - 3600)),
    "signed for the future": (BODY, signed(BODY, at=NOW + 3600)),
    "no header": (BODY, None),
    "an empty header": (BODY, ""),
    "garbage for a header": (BODY, "t,v1;=,=,"),
    "no signature in the header": (BODY, f"t={NOW:.0f}"),
    "no time in the header": (BODY, "v1=" + "0" * 64),
    "a time that is no number": (BODY, "t=now,v1=" + "0" * 64),
    "a signature that is not ASCII": (BODY, f"t={NOW:.0f},v1=é"),
    "an older scheme": (BODY, signed(BODY).replace("v1=", "v0=")),
    "live mode": with_event(livemode=True),
    "no mode": with_event(livemode=None),
    "a mode that is only nearly false": with_event(livemode=0),
    "another account": with_event(account="acct_of_somebody_else"),
    "no JSON": with_body(b"{"),
    "an empty body": with_body(b""),
    "a list": with_body(b"[]"),
    "a number": with_body(b"1"),
    "a body that is not UTF-8": (b"\xff\xfe", "t=1,v1=0"),
    "no id": with_event(id=None),
    "an id that is no text": with_event(id={"a": 1}),
    "an id with NUL": with_event(id="evt_\0"),
    "an endless id": with_event(id="e" * 101),
    "no object": with_event(data={}),
    "an object that is none": with_event(data={"object": "cs_test"}),
    "a type that is none": with_event(type=["a"]),
    "no time": with_event(created=None),
    "a time that there is not": with_event(created=10**30),
    "deeply nested JSON": with_body(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a huge body": with_body(b'{"a":"' + b"x" * 3_000_000 + b'"}'),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forgery_is_refused_before_it_costs_a_query(
    stand_in: StripeStandIn, forgery: str
) -> None:
    with CaptureQueriesContext(connections["default"]) as queries:
        answer = post(*FORGED[forgery])

    assert answer.status_code == 400
    assert len(queries) == 0
    assert not StripeEvent.objects.exists()
    assert SECRET.encode() not in answer.content


def test_the_same_event_with_its_own_signature_is_taken(stand_in: StripeStandIn) -> None:
    assert post(*with_event()).status_code == 200
    assert StripeEvent.objects.get().id == "evt_forged"


def test_an_event_of_the_connected_account_that_is_ours_is_taken(
    stand_in: StripeStandIn, settings: Any
) -> None:
    settings.STRIPE_ACCOUNT = "acct_ours"

    assert post(*with_event(account="acct_ours")).status_code == 200
    assert post(*with_event(account="acct_theirs")).status_code == 400


def test_in_live_mode_events_of_test_mode_are_refused(
    stand_in: StripeStandIn, settings: Any
) -> None:
    settings.STRIPE_SECRET_KEY = "sk_live_simulated"

    assert post(*with_event()).status_code == 400
    assert post(*with_event(livemode=True)).status_code == 200


@pytest.mark.parametrize("secret", ["", SECRET])
def test_while_payments_are_off_everything_is_refused(
    stand_in: StripeStandIn, settings: Any, secret: str
) -> None:
    settings.STRIPE_SECRET_KEY = ""
    settings.STRIPE_WEBHOOK_SECRET = secret

    assert post(BODY, signed(BODY, secret=secret)).status_code == 400
    assert tasks.check_open_orders() == 0
    assert tasks.handle_due_stripe_events() == 0


def test_an_empty_secret_accepts_nothing_even_if_set_after_the_start(
    stand_in: StripeStandIn, settings: Any
) -> None:
    settings.STRIPE_WEBHOOK_SECRET = ""

    assert post(BODY, signed(BODY, secret="")).status_code == 400


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "head"])
def test_only_post_is_taken(stand_in: StripeStandIn, method: str) -> None:
    assert getattr(Client(), method)("/webhooks/stripe").status_code == 405


def test_stripe_needs_no_token_of_ours(stand_in: StripeStandIn) -> None:
    payload, header = with_event()

    answer = Client(enforce_csrf_checks=True).post(
        "/webhooks/stripe",
        payload,
        content_type="application/json",
        headers={"Stripe-Signature": header},
    )

    assert answer.status_code == 200


def test_an_event_of_a_type_that_nobody_handles_is_kept_and_ignored(
    stand_in: StripeStandIn,
) -> None:
    assert post(*with_event(type="product.created")).status_code == 200

    event = StripeEvent.objects.get()
    assert (event.state, event.outcome) == ("ignored", "Events of this type are not handled.")
    assert webhooks.due_event_ids() == []


def test_a_new_event_takes_one_registered_function(
    stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "HANDLERS", dict(HANDLERS))

    @webhooks.handles("product.created")
    def handle_product(product_id: str) -> str:
        return f"{product_id} is known."

    assert post(*with_event(type="product.created")).status_code == 200
    assert tasks.handle_due_stripe_events() == 1
    event = StripeEvent.objects.get()
    assert (event.state, event.outcome) == ("handled", "cs_test_forged is known.")


@pytest.mark.django_db(transaction=True)
def test_a_hundred_copies_at_once_are_taken_and_credit_once(
    stand_in: StripeStandIn, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = checkout(alices_team, alice)[1]
    stand_in.pay(page)
    (event,) = stand_in.events("checkout.session.completed")
    # A worker for each of them, and at once.
    monkeypatch.setattr(handle_stripe_event, "delay", webhooks.handle)

    def ten_copies() -> list[int]:
        copies = [stand_in.post(event).status_code for _ in range(10)]
        webhooks.handle(event["id"])
        return copies

    answers = [status for statuses in run_concurrently(*[ten_copies] * 10) for status in statuses]

    assert answers == [200] * 100
    assert Transfer.objects.filter(kind="top_up").count() == 1
    assert StripeEvent.objects.get().attempts == 1
    assert Order.objects.get().state == Order.State.PAID


@pytest.mark.django_db(transaction=True)
def test_a_hundred_events_about_one_payment_credit_once(
    stand_in: StripeStandIn, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = checkout(alices_team, alice)[1]
    stand_in.pay(page)
    sent = stand_in.events("checkout.session.completed", "payment_intent.succeeded")
    monkeypatch.setattr(handle_stripe_event, "delay", webhooks.handle)

    def ten_events(worker: int) -> list[int]:
        return [
            stand_in.post(sent[each % 2] | {"id": f"evt_{worker}_{each}"}).status_code
            for each in range(10)
        ]

    works = [lambda worker=worker: ten_events(worker) for worker in range(10)]
    answers = [status for statuses in run_concurrently(*works) for status in statuses]

    assert answers == [200] * 100
    assert Transfer.objects.filter(kind="top_up").count() == 1
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"handled"}


def test_without_a_broker_the_event_is_taken_and_handled_by_the_next_round(
    stand_in: StripeStandIn, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = checkout(alices_team, alice)[1]
    stand_in.pay(page)
    (event,) = stand_in.events("checkout.session.completed")

    def is_away(_event_id: str) -> None:
        raise OperationalError("Error 111 connecting to 127.0.0.1:6379. Connection refused.")

    monkeypatch.setattr(handle_stripe_event, "delay", is_away)

    assert stand_in.post(event).status_code == 200
    assert Order.objects.get().state == Order.State.OPEN
    assert tasks.handle_due_stripe_events() == 1
    assert Order.objects.get().state == Order.State.PAID


def test_the_runbook_names_every_event_that_is_handled() -> None:
    runbook = (ROOT / "platform/docs/operations.md").read_text()

    assert [kind for kind in HANDLERS if f"`{kind}`" not in runbook] == []
