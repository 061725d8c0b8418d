"""Alerts reach staff: by email, by Slack's and by signed webhooks, once, with retries."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from api.models import AlertDelivery
from billing.ledger.alerts import raise_alert
from billing.models import LedgerAlert
from portal.alerts import delivery
from portal.alerts.tasks import deliver_alerts
from tests.portal.alert_receiver import LEAK, SECRET, Receiver, run_round, target_of

pytestmark = pytest.mark.django_db


def later(**delta: float) -> None:
    """Let time pass for the deliveries."""
    shift = timedelta(**delta)
    for each in AlertDelivery.objects.all():
        each.next_attempt_at -= shift
        each.ended_at = each.ended_at and each.ended_at - shift
        each.save()


def test_an_email_says_what_happened_and_what_to_do() -> None:
    target_of("email", "ops@example.com")
    raise_alert("stripe_event", "evt_1", f"checkout failed with {LEAK}")
    assert run_round() == 1
    (email,) = mail.outbox
    assert email.to == ["ops@example.com"]
    assert email.subject == "[Tollgate] Critical: stripe_event"
    html = str(email.alternatives[0][0])
    for text in (str(email.body), html):
        assert "evt_1" in text
        assert "Handle again" in text
        assert "/admin/billing/ledgeralert/?kind=stripe_event" in text
        assert LEAK not in text
    assert run_round() == 0
    assert len(mail.outbox) == 1


def test_slack_gets_its_own_form_with_nothing_that_it_would_interpret(receiver: Receiver) -> None:
    target = target_of("slack", secret=f"{receiver.url}/T1/B2/secret")
    assert target.address == receiver.url.removesuffix("/hook")
    raise_alert("written_off", "model <!channel> & co", f"Request 1, {LEAK}")
    assert run_round() == 1
    ((path, headers, body),) = receiver.got
    assert path == "/hook/T1/B2/secret"
    assert headers["content-type"] == "application/json"
    payload = json.loads(body)
    assert payload["text"] == "Tollgate: Critical: written_off"
    assert "&lt;!channel&gt; &amp; co" in payload["attachments"][0]["text"]
    assert "What to do" in payload["attachments"][0]["footer"]
    assert LEAK not in body.decode()


def test_a_webhook_is_signed_as_standard_webhooks_says(receiver: Receiver) -> None:
    target_of("webhook", receiver.url, SECRET)
    raise_alert("invariant", "held 2026-01-01", "1 account")
    assert run_round() == 1
    ((_, headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    payload = json.loads(body)
    assert payload["type"] == "alert.raised"
    assert payload["data"]["kind"] == "invariant"
    assert payload["data"]["severity"] == "critical"
    assert payload["data"]["alerts"][0]["reference"] == "held 2026-01-01"


def test_a_failing_webhook_is_retried_under_the_same_id(receiver: Receiver) -> None:
    target = target_of("webhook", receiver.url, SECRET)
    raise_alert("invariant", "1", "detail")
    receiver.statuses = [500, 302, 204]
    assert run_round() == 0
    assert run_round() == 0, "not before its time"
    assert len(receiver.got) == 1
    row = AlertDelivery.objects.get()
    assert (row.state, row.error) == ("waiting", "It answered with status 500.")
    target.refresh_from_db()
    assert target.failing_since is not None
    later(seconds=31)
    assert run_round() == 0, "a redirect is not followed"
    later(minutes=2)
    assert run_round() == 1
    assert {path for path, *_ in receiver.got} == {"/hook"}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    target.refresh_from_db()
    assert (target.failing_since, target.last_error) == (None, "")
    assert AlertDelivery.objects.get().attempts == 3


def test_other_targets_hear_of_a_failing_one_which_is_given_up_at_last(
    receiver: Receiver,
) -> None:
    failing = target_of("webhook", receiver.url, SECRET)
    target_of("email", "ops@example.com")
    receiver.statuses = [503]
    raise_alert("invariant", "1", "detail")
    for _ in range(delivery.MAX_ATTEMPTS):
        run_round()
        later(hours=2)
    run_round()
    assert len(receiver.got) == delivery.MAX_ATTEMPTS
    row = AlertDelivery.objects.get(target=failing)
    assert (row.state, row.attempts) == ("failed", delivery.MAX_ATTEMPTS)
    subjects = [email.subject for email in mail.outbox]
    assert sorted(subjects) == [
        "[Tollgate] Critical: alert_target_failing",
        "[Tollgate] Critical: invariant",
    ]


def test_many_alerts_of_a_kind_share_a_message(receiver: Receiver) -> None:
    target_of("webhook", receiver.url, SECRET)
    for n in range(12):
        raise_alert("stripe_event", f"evt_{n:02}", "failed")
    raise_alert("invariant", "1", "detail")
    assert run_round() == 2
    found = {}
    for *_, body in receiver.got:
        data = json.loads(body)["data"]
        found[data["kind"]] = (data["count"], len(data["alerts"]))
    assert found == {"stripe_event": (12, 10), "invariant": (1, 1)}
    raise_alert("stripe_event", "evt_later", "failed")
    raise_alert("stripe_event", "evt_latest", "failed")
    assert run_round() == 0, "one message of a kind in five minutes"
    later(minutes=6)
    assert run_round() == 1
    assert json.loads(receiver.got[-1][2])["data"]["count"] == 2
    assert AlertDelivery.objects.exclude(state="sent").count() == 0


def test_a_killed_workers_message_is_sent_again(receiver: Receiver) -> None:
    target_of("webhook", receiver.url, SECRET)
    raise_alert("invariant", "1", "detail")
    delivery.add_deliveries()
    (first,) = delivery.claim_due()
    assert delivery.claim_due() == [], "claimed"
    later(seconds=91)
    assert delivery.claim_due() == [first]
    assert delivery.send_message(first)
    assert not delivery.send_message(first), "delivered"
    assert len(receiver.got) == 1


def test_targets_get_what_they_want_from_when_they_exist() -> None:
    raise_alert("invariant", "too early", "detail")
    target_of("email", "critical@example.com", least_severity="critical")
    target_of("email", "off@example.com", is_enabled=False)
    raise_alert("hold_overrun", "1", "a warning")
    raise_alert("invariant", "in time", "detail")
    run_round()
    (email,) = mail.outbox
    assert email.to == ["critical@example.com"]
    assert "in time" in email.body
    assert "too early" not in email.body


def test_an_alert_that_was_acknowledged_first_is_not_sent() -> None:
    target_of("email", "ops@example.com")
    raise_alert("invariant", "1", "detail")
    delivery.add_deliveries()
    LedgerAlert.objects.update(handled_at=timezone.now())
    assert run_round() == 0
    assert (mail.outbox, AlertDelivery.objects.get().state) == ([], "skipped")


def test_the_task_queues_each_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Any] = []
    monkeypatch.setattr(
        "portal.alerts.tasks.send_alert.apply_async", lambda args, **_: queued.append(args)
    )
    target_of("email", "ops@example.com")
    raise_alert("invariant", "1", "detail")
    assert (deliver_alerts(), deliver_alerts(), len(queued)) == (1, 0, 1)
