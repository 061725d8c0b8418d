"""Events reach customers' servers: signed, at least once, with retries for a day."""

import json
import re
import threading
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core import mail
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from accounts import encryption
from accounts.access import Actor
from accounts.models import AuditEntry, Role, Team, WebhookDelivery, WebhookEndpoint, WebhookEvent
from accounts.webhooks.events import EventType, publish, publish_to
from api.reencryption import reencrypt
from api.webhooks import delivery, endpoints
from api.webhooks.client import Answer
from portal.emails.sending import send_email
from portal.emails.tasks import send_notices
from tests.api.webhooks.receiver import Receiver, endpoint_of, later, run_round
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db

TEST = EventType.TEST


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.select_related("event", "endpoint").get()


def test_a_receiver_verifies_an_event_with_the_specifications_library(
    receiver: Receiver, alices_team: Team
) -> None:
    _, secret = endpoint_of(alices_team, receiver.url)
    event = publish(alices_team.pk, EventType.BALANCE_LOW, {"balance_usd": "1.500000000"})
    assert run_round() == 1
    ((headers, body),) = receiver.got
    payload = Webhook(secret).verify(body.decode(), headers)
    assert payload == json.loads(body)
    assert set(payload) == {"type", "timestamp", "data"}
    assert payload["type"] == "balance.low"
    assert payload["data"] == {"balance_usd": "1.500000000"}
    assert event is not None
    assert headers["webhook-id"] == event.message_id
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.decode() + " ", headers)
    row = only()
    assert (row.state, row.status, row.excerpt) == ("delivered", 200, "thank you")
    assert run_round() == 0


def test_the_documentations_own_verifier_takes_it_and_nothing_else(
    receiver: Receiver, alices_team: Team, client: Client
) -> None:
    _, secret = endpoint_of(alices_team, receiver.url)
    publish(alices_team.pk, TEST, {"text": "žluť"})
    run_round()
    page = client.get("/docs/webhooks").content.decode()
    found = re.search(r'class="language-python">(.*?)</code>', page, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(unescape(found[1]), names)  # what the page shows
    names["SECRET"] = secret
    headers, body = receiver.got[0]
    assert names["is_genuine"](headers, body)
    old = str(int(headers["webhook-timestamp"]) - 3600)
    assert not names["is_genuine"](headers, body + b" ")
    assert not names["is_genuine"]({**headers, "webhook-timestamp": old}, body)
    assert not names["is_genuine"]({**headers, "webhook-id": "msg_other"}, body)


def test_both_secrets_verify_during_a_rotation_and_neither_is_stored_readably(
    receiver: Receiver, alices_team: Team
) -> None:
    endpoint, old = endpoint_of(alices_team, receiver.url)
    actor = Actor(team=alices_team, role=Role.OWNER)
    new = endpoints.rotate_secret(actor, endpoint, ip_address=None)
    publish(alices_team.pk, TEST, {})
    run_round()
    headers, body = receiver.got[-1]
    for secret in (old, new):
        Webhook(secret).verify(body.decode(), headers)
    WebhookEndpoint.objects.update(previous_secret_expires_at=timezone.now())
    publish(alices_team.pk, TEST, {})
    run_round()
    headers, body = receiver.got[-1]
    Webhook(new).verify(body.decode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body.decode(), headers)
    row = WebhookEndpoint.objects.get()
    for stored in (row.encrypted_secret, row.encrypted_previous_secret):
        assert encryption.is_encrypted(stored)


def test_secrets_move_to_a_new_encryption_key(
    receiver: Receiver, alices_team: Team, settings: Any
) -> None:
    _, secret = endpoint_of(alices_team, receiver.url)
    newest = max(settings.ENCRYPTION_KEYS) + 1
    settings.ENCRYPTION_KEYS = {**settings.ENCRYPTION_KEYS, newest: b"n" * 32}
    assert reencrypt() >= 1
    settings.ENCRYPTION_KEYS = {newest: b"n" * 32}
    publish(alices_team.pk, TEST, {})
    run_round()
    headers, body = receiver.got[-1]
    Webhook(secret).verify(body.decode(), headers)
    settings.ENCRYPTION_KEYS = {newest + 1: b"o" * 32}
    publish(alices_team.pk, TEST, {})
    assert run_round() == 0
    assert WebhookDelivery.objects.latest("pk").problem == "secret"


def test_a_failed_attempt_is_repeated_under_the_same_id_and_never_redirected(
    receiver: Receiver, alices_team: Team
) -> None:
    endpoint_of(alices_team, receiver.url)
    publish(alices_team.pk, TEST, {"n": 1})
    receiver.statuses = [500, 307, 204]
    assert run_round() == 1
    assert (only().state, only().status) == ("waiting", 500)
    assert only().endpoint.failing_since is not None
    assert run_round() == 0, "not before its time"
    later(seconds=19)
    assert run_round() == 1
    assert (only().state, only().status) == ("waiting", 307)
    later(minutes=1)
    assert run_round() == 1
    assert (only().state, only().attempts) == ("delivered", 3)
    assert only().endpoint.failing_since is None
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


def test_retries_last_for_more_than_a_day() -> None:
    delays = [delivery.retry_delay(attempt) for attempt in range(1, delivery.MAX_ATTEMPTS)]
    assert timedelta(seconds=12) <= delays[0] <= timedelta(seconds=18)
    assert max(delays) <= delivery.SLOWEST_RETRY * 1.2
    assert timedelta(hours=24) * 0.9 < sum(delays, timedelta()) < timedelta(hours=36)


def test_killed_workers_attempts_do_not_overflow_the_delay() -> None:
    assert delivery.retry_delay(1000) <= delivery.SLOWEST_RETRY * 1.2


def test_an_event_that_was_published_while_its_endpoint_was_disabled_is_canceled(
    receiver: Receiver, alices_team: Team
) -> None:
    endpoint, _ = endpoint_of(alices_team, receiver.url)
    endpoints.disable(Actor(team=alices_team), endpoint, ip_address=None)
    publish_to([endpoint], TEST, {})  # as the publisher's transaction had read it before
    assert run_round() == 0
    assert (only().state, receiver.got) == ("canceled", [])


def test_an_event_is_given_up_and_can_be_replayed(receiver: Receiver, alices_team: Team) -> None:
    endpoint_of(alices_team, receiver.url)
    publish(alices_team.pk, TEST, {})
    receiver.statuses = [503]
    for _ in range(delivery.MAX_ATTEMPTS):
        run_round()
        later(hours=10)
    assert (only().state, only().attempts) == ("failed", delivery.MAX_ATTEMPTS)
    assert run_round() == 0
    receiver.statuses = [500, 200]
    endpoints.replay(only())
    with pytest.raises(endpoints.WebhookError):
        endpoints.replay(only())
    run_round()
    assert only().state == "waiting", "a replay is retried, too"
    later(seconds=19)
    run_round()
    assert only().state == "delivered"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_an_endpoint_that_fails_for_days_is_disabled_and_its_owners_are_told(
    receiver: Receiver,
    alices_team: Team,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    endpoint, _ = endpoint_of(alices_team, receiver.url)
    receiver.statuses = [500]
    for _ in range(4):
        publish(alices_team.pk, TEST, {})
        for _ in range(delivery.MAX_ATTEMPTS):
            run_round()
            later(hours=10)
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.disabled_reason) == (False, "failing")
    assert publish(alices_team.pk, TEST, {}) is None
    entry = AuditEntry.objects.get(action="webhook.disabled")
    assert entry.actor_label == "the service"
    monkeypatch.setattr(send_email, "apply_async", lambda sent, **_options: send_email(*sent))
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            send_notices()
    told = [each for each in mail.outbox if "webhook endpoint" in each.subject]
    assert [each.to for each in told] == [["alice@example.com"]]
    assert receiver.url in str(told[0].body)


def test_gone_disables_at_once_and_cancels_what_waits(
    receiver: Receiver, alices_team: Team
) -> None:
    endpoint, _ = endpoint_of(alices_team, receiver.url)
    publish(alices_team.pk, TEST, {})
    receiver.statuses = [410]
    run_round()
    endpoint.refresh_from_db()
    assert endpoint.disabled_reason == "gone"
    assert only().state == "canceled"
    with pytest.raises(endpoints.WebhookError):
        endpoints.replay(only())
    endpoints.enable(Actor(team=alices_team), endpoint, ip_address=None)
    receiver.statuses = [200]
    endpoints.replay(only())
    run_round()
    assert only().state == "delivered"


def test_an_endpoint_gets_what_it_subscribed_to_and_nothing_of_others(
    receiver: Receiver, alices_team: Team, charlie: Any
) -> None:
    endpoint_of(alices_team, receiver.url, "job.completed")
    endpoint_of(charlie.teams.get(), receiver.url)
    assert publish(alices_team.pk, EventType.JOB_FAILED, {}) is None
    assert publish(alices_team.pk, EventType.JOB_COMPLETED, {}, reference="job 1") is not None
    assert publish(alices_team.pk, EventType.JOB_COMPLETED, {}, reference="job 1") is None
    assert run_round() == 1


def test_an_attempt_whose_claim_has_passed_on_changes_nothing(
    receiver: Receiver, alices_team: Team
) -> None:
    endpoint_of(alices_team, receiver.url)
    publish(alices_team.pk, TEST, {})
    (slow,) = delivery.messages_of(delivery.claim_due())
    later(seconds=delivery.CLAIM_SECONDS + 1)
    assert run_round() == 1
    delivery.record(slow.delivery, Answer(500, "", "", 1))
    assert (only().state, only().status, only().attempts) == ("delivered", 200, 2)


def test_a_team_cannot_occupy_a_round(receiver: Receiver, alices_team: Team, charlie: Any) -> None:
    for _ in range(3):
        endpoint_of(alices_team, receiver.url)
    others = charlie.teams.get()
    endpoint_of(others, receiver.url)
    for _ in range(9):
        publish(alices_team.pk, TEST, {})
    publish(others.pk, TEST, {})
    claimed = WebhookDelivery.objects.filter(pk__in=delivery.claim_due())
    assert claimed.filter(endpoint__team=others).count() == 1
    assert claimed.filter(endpoint__team=alices_team).count() == delivery.MOST_OF_TEAM
    again = delivery.claim_due(busy_teams=[alices_team.pk])
    assert again == []


def test_old_events_are_forgotten(alices_team: Team, receiver: Receiver) -> None:
    endpoint_of(alices_team, receiver.url)
    old, new = (publish(alices_team.pk, TEST, {"n": n}) for n in range(2))
    assert old is not None
    WebhookEvent.objects.filter(pk=old.pk).update(created_at=timezone.now() - delivery.KEPT)
    assert delivery.forget_old() == 1
    assert only().event == new


def test_a_budget_that_stays_used_up_is_not_published_again_after_the_deletion(
    alices_team: Team, receiver: Receiver
) -> None:
    endpoint_of(alices_team, receiver.url)

    def publish_budget(period: str, scope: str = "api_key") -> WebhookEvent | None:
        data, reference = {"scope": scope, "period": period}, f"{scope} {period} of 5"
        return publish(alices_team.pk, EventType.BUDGET_REACHED, data, reference=reference)

    for period in ("daily", "monthly", "total"):
        assert publish_budget(period) is not None
    publish_budget("total", "member")
    WebhookEvent.objects.update(created_at=timezone.now() - delivery.KEPT)
    assert delivery.forget_old() == 2, "the daily one, and a member's, which names them"
    assert not WebhookDelivery.objects.exists()
    assert publish_budget("monthly") is None
    assert publish_budget("total") is None


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_the_deliveries(receiver: Receiver, alices_team: Team) -> None:
    endpoint_of(alices_team, receiver.url)
    for n in range(6):
        publish(alices_team.pk, TEST, {"n": n})
    barrier = threading.Barrier(2)

    def work() -> None:
        try:
            for _ in range(4):
                barrier.wait(timeout=60)
                run_round()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(json.loads(body)["data"]["n"] for _, body in receiver.got) == list(range(6))
    assert set(WebhookDelivery.objects.values_list("state", "attempts")) == {("delivered", 1)}


@pytest.mark.django_db(transaction=True)
def test_a_deletion_waits_for_an_event_that_is_being_published(alices_team: Team) -> None:
    """Otherwise one of the two transactions, such as a payment's, would fail at its commit."""
    endpoint, _ = endpoint_of(alices_team, "https://example.com/hook")
    failed: list[Exception] = []

    def delete() -> None:
        try:
            endpoints.delete(Actor(team=alices_team), endpoint, ip_address=None)
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    deletion = threading.Thread(target=delete)
    with transaction.atomic():
        publish(alices_team.pk, TEST, {})
        deletion.start()
        eventually(is_waiting_for_a_lock, seconds=60, what="the deletion doesn't wait")
    deletion.join(timeout=60)
    assert failed == []
    assert not WebhookDelivery.objects.exists()


def is_waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees the first one
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_a_whole_round_with_its_threads(receiver: Receiver, alices_team: Team) -> None:
    endpoint_of(alices_team, receiver.url)
    for n in range(11):
        publish(alices_team.pk, TEST, {"n": n})
    assert delivery.run_due() == 11
    assert len(receiver.got) == 11
    assert delivery.run_due() == 0
