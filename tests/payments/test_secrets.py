"""Stripe's secrets: needed from the start on, and found nowhere afterwards."""

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import timezone

from accounts.masking import mask_secrets
from accounts.models import Team, User
from billing.errors import StripeError
from billing.models import Order, StripeEvent
from billing.payments import orders, tasks, webhooks
from billing.payments.webhooks import HANDLERS
from billing.stripe_settings import require_secrets
from tests.cast import everything_in_the_database
from tests.payments.conftest import PAGES
from tests.payments.test_webhooks import EVENT, signed
from tests.support import fresh_programs

KEY = "sk_test_CANARY51abcdefghijklmnopqrstuvwxyz"
WEBHOOK_SECRET = "whsec_CANARYabcdefghijklmnopqrstuvwxyz012345"
ROOT = Path(__file__).resolve().parents[2]


class Gossip(BaseHTTPRequestHandler):
    """A server that fails and quotes everything it was sent."""

    status = 500
    is_json = True
    disable_nagle_algorithm = True

    def answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        told = f"{self.headers['authorization']} {self.rfile.read(length)!r} {KEY}"
        error = {"error": {"type": "api_error", "message": told, "code": told, "param": told}}
        body = (json.dumps(error) if self.is_json else told).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", KEY)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815  (the standard library's names)

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the pauses before a call that is under way elsewhere is repeated."""
    monkeypatch.setattr(orders, "BUSY_RETRY_DELAYS_SECONDS", (0.0,))


@pytest.fixture
def gossip(settings: Any) -> Iterator[type[Gossip]]:
    """A server that tells whoever asks what the others said."""
    kind = type("OwnGossip", (Gossip,), {})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        settings.STRIPE_SECRET_KEY = KEY
        settings.STRIPE_WEBHOOK_SECRET = WEBHOOK_SECRET
        settings.STRIPE_API_BASE = f"http://127.0.0.1:{server.server_port}"
        yield kind
        server.shutdown()
        thread.join()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What goes to the log, as it is written there."""
    root, written = logging.getLogger(), io.StringIO()
    ours = next(each for each in root.handlers if type(each) is logging.StreamHandler)
    handler = logging.StreamHandler(written)
    handler.setFormatter(ours.formatter)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)


def receive(number: str, kind: str = "checkout.session.completed") -> None:
    """Store an event as received."""
    StripeEvent.objects.create(id=number, type=kind, object_id="cs_1", created_at=timezone.now())


def assert_kept(*texts: object) -> None:
    everything = "".join(map(str, texts)) + everything_in_the_database()
    assert "CANARY" not in everything


@pytest.mark.django_db
@pytest.mark.parametrize("is_json", [True, False])
@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 409, 429, 500, 503])
def test_a_stripe_that_quotes_the_key_is_not_quoted(
    gossip: type[Gossip],
    log: io.StringIO,
    alice: User,
    alices_team: Team,
    status: int,
    is_json: bool,
) -> None:
    gossip.status, gossip.is_json = status, is_json
    order = orders.place(alices_team, alice, 1000)

    with pytest.raises(StripeError) as caught:
        orders.open_checkout(order, alice, **PAGES)
    receive("evt_1")
    webhooks.handle("evt_1")
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Order.objects.update(session_id="cs_1", created_at=an_hour_ago)
    tasks.check_open_orders()

    assert "stripe_event_failed" in log.getvalue()
    assert "order_not_checked" in log.getvalue()
    assert_kept(log.getvalue(), caught.value, repr(caught.value), getattr(caught.value, "code", ""))


@pytest.mark.django_db
def test_a_bug_that_quotes_the_secrets_is_not_quoted(
    gossip: type[Gossip], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_object_id: str) -> str:
        raise ValueError(f"{KEY} and {WEBHOOK_SECRET}, authorization: Bearer {KEY}")

    monkeypatch.setitem(HANDLERS, "payment_intent.succeeded", fails)
    receive("evt_1", "payment_intent.succeeded")
    for _ in range(webhooks.ATTEMPTS_BEFORE_ALERT):
        StripeEvent.objects.update(next_attempt_at=timezone.now())
        webhooks.handle("evt_1")

    assert "stripe_event_failed" in log.getvalue()
    assert "sk_test_…" in StripeEvent.objects.get().outcome
    assert_kept(log.getvalue())


@pytest.mark.django_db
def test_a_forged_webhook_reveals_nothing_and_stores_nothing(
    gossip: type[Gossip], log: io.StringIO
) -> None:
    body = json.dumps(EVENT | {"id": WEBHOOK_SECRET * 3, "type": KEY}).encode()
    answers = [
        Client().post(
            "/webhooks/stripe",
            body,
            content_type="application/json",
            headers={"Stripe-Signature": header},
        )
        for header in (f"t=1,v1={WEBHOOK_SECRET}", signed(body, secret=WEBHOOK_SECRET), KEY)
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert "stripe_event_rejected" in log.getvalue()
    assert_kept(log.getvalue(), *[answer.content for answer in answers])


def test_each_shape_of_a_secret_is_masked() -> None:
    for secret in (KEY, KEY.replace("test", "live"), KEY.replace("sk_", "rk_"), WEBHOOK_SECRET):
        masked = mask_secrets(f"it is '{secret}', they say: {secret}")
        assert "CANARY" not in masked
        assert masked.count("…") == 2
        assert masked.startswith(f"it is '{secret[:6]}")


def test_stripes_own_log_of_calls_is_quiet() -> None:
    assert not logging.getLogger("stripe").isEnabledFor(logging.INFO)


# The start


@pytest.mark.parametrize(
    "secret",
    ["", " ", "whsec_", "whsec_short", "whsec_          ", "sk_test_" + "a" * 32, "a" * 40],
)
def test_a_webhook_secret_that_protects_nothing_is_refused(settings: Any, secret: str) -> None:
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_WEBHOOK_SECRET = secret

    with pytest.raises(ImproperlyConfigured, match="STRIPE_WEBHOOK_SECRET"):
        require_secrets()


def test_without_payments_no_secret_is_needed(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = settings.STRIPE_WEBHOOK_SECRET = ""

    require_secrets()


@pytest.mark.parametrize(("secret", "starts"), [("", False), (WEBHOOK_SECRET, True)])
def test_nothing_starts_with_a_key_but_no_webhook_secret(secret: str, starts: bool) -> None:
    environment = os.environ | {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": secret}

    code, said, complained = fresh_programs.run(["manage.py", "check"], environment)

    assert (code == 0) is starts, complained
    assert ("ImproperlyConfigured" in complained) is not starts
    assert "CANARY" not in said + complained
