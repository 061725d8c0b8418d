"""kill -9 of the worker after an endpoint has answered, and before that is recorded."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.api.webhooks.receiver import Receiver
from tests.faults.rows import recovery
from tests.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("webhook", "SIGKILL between a webhook's answer and its record")

PAYER = "webhook-kill@example.com"
ALLOW = """
from django.conf import settings
settings.WEBHOOKS_ALLOW_LOOPBACK = True
"""
ADD = """
from accounts.access import Actor
from accounts.models import User
from accounts.webhooks.events import EventType, publish
from api.webhooks import endpoints
team = User.objects.get(email="{payer}").teams.get()
actor = Actor(team=team, role="owner")
endpoints.create(actor, "{url}", events=[], low_balance_nanos=0, ip_address=None)
publish(team.pk, EventType.TEST, {{"message": "only once, please"}})
"""
DELIVERIES = """
SELECT d.state, d.attempts FROM accounts_webhookdelivery d
JOIN accounts_webhookendpoint e ON e.id = d.endpoint_id WHERE e.url = %s
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The customer's server."""
    found = Receiver()
    yield found
    found.close()


def test_the_event_arrives_again_under_the_same_id(
    stack_with: Callable[..., Stack], receiver: Receiver
) -> None:
    stack = stack_with()
    stack.customer(PAYER)
    add = ALLOW + ADD.format(payer=PAYER, url=receiver.url)
    stack.manage("shell", "-v", "0", "-c", add)
    task = f"{ALLOW}from api.webhooks.delivery import run_due; run_due()"
    code, *_ = stack.run_command("shell", "-v", "0", "-c", task, failpoint="after_webhook")
    assert code == -9
    assert len(receiver.got) == 1
    assert stack.sql(DELIVERIES, receiver.url) == [("waiting", 1)]
    # As it is after the claim's 45 seconds.
    stack.sql("UPDATE accounts_webhookdelivery SET next_attempt_at = now()")
    with recovery():
        stack.start_worker(WEBHOOKS_ALLOW_LOOPBACK="1", WEBHOOK_SECONDS="0.5")
        eventually(
            lambda: stack.sql(DELIVERIES, receiver.url) == [("delivered", 2)],
            seconds=90,
            what="the event was not delivered again",
        )
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert {json.loads(body)["data"]["message"] for _, body in receiver.got} == {
        "only once, please"
    }
