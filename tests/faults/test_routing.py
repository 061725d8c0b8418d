"""Two relay processes and three upstreams: upstreams die, return and are drained under load, and a
process is killed; or one upstream with two keys, of which one is revoked. No request fails that
another route or key could serve, and the books are right.
"""

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from api.gateway.breaker import FAILURES_IN_A_ROW, FIRST_EJECTION_SECONDS
from local.child import Child
from tests.faults.conftest import ACCOUNTS_OF, reservations
from tests.faults.rows import recovery
from tests.stack import Stack, chat, free_port
from tests.support.doors import Door
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("routing", "upstreams die, return and are drained under load")

EMAIL = "routed@example.com"
CLIENTS = 4
# Requests that each phase of the load waits for.
ENOUGH = 120

# The model's own route makes way for one to each door, with prices and all else as it was.
MAKE_ROUTES = """
from api.models import Route, Upstream
own = Route.objects.get(model__name="glm-5.2", is_enabled=True)
for number, port in enumerate({ports}):
    upstream = Upstream.objects.get(pk=own.upstream_id)
    upstream.pk, upstream.name = None, f"door-{{number}}"
    upstream.base_url = f"http://127.0.0.1:{{port}}/v1"
    upstream.encrypted_key, upstream.total_timeout_seconds = "", 60
    upstream.save()
    Route.objects.create(
        model=own.model, upstream=upstream, upstream_model=own.upstream_model, priority=0
    )
Route.objects.filter(pk=own.pk).update(is_enabled=False)
"""
REMOVE_ROUTES = """
from api.models import Route, Upstream
Route.objects.filter(upstream__name__startswith="door-").delete()
Upstream.objects.filter(name__startswith="door-").delete()
Route.objects.filter(model__name="glm-5.2").update(is_enabled=True)
"""
# The model's own upstream gets two keys.
MAKE_KEYS = """
from django.utils import timezone
from api.models import Route, UpstreamKey
from api.upstream_keys import store_secret
upstream = Route.objects.get(model__name="glm-5.2", is_enabled=True).upstream
for name in ("first", "second"):
    key = UpstreamKey(upstream=upstream, name=name)
    store_secret(key, f"sk-upstream-{name}-0123456789", timezone.now())
    key.save()
"""
REMOVE_KEYS = """
from api.models import UpstreamKey
UpstreamKey.objects.filter(name__in=["first", "second"]).delete()
"""


class Load:
    """Clients that send requests to the relay processes until they are stopped.

    Each request is a session of its own, so that all upstreams get some. `failures` are the answers
    that nobody should get; a client whose process was killed goes on with the next one.
    """

    def __init__(self, urls: list[str], key: str) -> None:
        self.urls = urls
        self.answered = 0
        self.failures: list[str] = []
        self._key = key
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, more: int = ENOUGH) -> None:
        """Wait until so many more requests have been answered."""
        target = self.answered + more
        eventually(lambda: self.answered >= target, seconds=120, what="no answers")

    def _run(self, client: int) -> None:
        with httpx.Client(
            headers={"authorization": f"Bearer {self._key}"}, timeout=90
        ) as connection:
            while not self._stop.is_set():
                number = next(self._numbers)
                url = self.urls[(client + number) % len(self.urls)]
                self._send(connection, url, number)

    def _send(self, connection: httpx.Client, url: str, number: int) -> None:
        body = chat(f"Request {number}", simulate="tokens=5", max_tokens=20)
        try:
            answer = connection.post(f"{url}/chat/completions", json=body)
        except httpx.TransportError as error:
            if url in self.urls:  # else its process was killed
                self.failures.append(repr(error))
            return
        with self._lock:
            self.answered += 1
            if answer.status_code != 200:
                self.failures.append(f"{answer.status_code} {answer.text}")


@pytest.fixture
def doors(stack_with: Callable[..., Stack]) -> Iterator[tuple[Stack, list[Door]]]:
    """The stack with a model that has three upstreams, each behind a door to the simulator."""
    stack = stack_with(LEASE_SECONDS="2")
    made = [Door(stack.simulator_port) for _ in range(3)]
    stack.manage("shell", "-c", MAKE_ROUTES.format(ports=[door.port for door in made]))
    yield stack, made
    stack.manage("shell", "-c", REMOVE_ROUTES)
    for door in made:
        door.close()


@pytest.fixture
def second(doors: tuple[Stack, list[Door]]) -> Iterator[tuple[str, Child]]:
    """A second relay process: its base URL, and the process."""
    stack, _ = doors
    port = free_port()
    child = stack.start_second_web(port)
    yield f"http://127.0.0.1:{port}/v1", child
    child.stop()


def attempts(stack: Stack) -> list[dict[str, Any]]:
    """Return all attempts at the customer's requests, oldest request first."""
    rows = stack.sql(
        f"SELECT attempts FROM billing_usagerecord WHERE account_id IN {ACCOUNTS_OF}"
        " ORDER BY request_id",
        EMAIL,
    )
    return [attempt for (found,) in rows for attempt in found]


def answers_of(stack: Stack) -> Counter[str]:
    """Return how many requests each upstream has answered."""
    return Counter(each["upstream"] for each in attempts(stack) if each["status"] == 200)


def lasting_ejections(stack: Stack) -> list[str]:
    """Return the upstreams of the routes that are ejected."""
    rows = stack.sql(
        "SELECT u.name FROM api_routeejection e JOIN api_route r ON r.id = e.route_id"
        " JOIN api_upstream u ON u.id = r.upstream_id WHERE e.recovered_at IS NULL"
    )
    return [name for (name,) in rows]


def upstream_of(stack: Stack, url: str, key: str, session: str) -> str:
    """Send a request of a session, and return which upstream answered."""
    headers = {"authorization": f"Bearer {key}", "x-session-id": session}
    answer = httpx.post(
        f"{url}/chat/completions", json=chat(max_tokens=20), headers=headers, timeout=90
    )
    assert answer.status_code == 200, answer.text
    query = "SELECT upstream FROM billing_usagerecord WHERE request_id = %s"
    request_id = answer.headers["x-request-id"]
    ((name,),) = eventually(lambda: stack.sql(query, request_id))
    return str(name)


def test_no_request_fails_that_another_route_could_serve(
    doors: tuple[Stack, list[Door]], second: tuple[str, Child]
) -> None:
    stack, (door, _, _) = doors
    second_url, second_process = second
    limits = {"requests_per_minute": "1000000", "tokens_per_minute": "1000000000"}
    key = stack.customer(EMAIL, "50", **limits)
    urls = [f"{stack.base_url}/v1", second_url]
    stack.start_worker()

    # Both processes send a session to the same upstream.
    homes = [{upstream_of(stack, url, key, f"session {n}") for url in urls} for n in range(8)]
    assert all(len(each) == 1 for each in homes)

    with Load(urls, key) as load:
        load.wait_for()
        assert {each["upstream"] for each in attempts(stack)} == {"door-0", "door-1", "door-2"}

        door.close()
        closed_at = time.monotonic()
        eventually(lambda: lasting_ejections(stack) == ["door-0"], seconds=60)
        load.wait_for()
        # A process is killed while the upstream is away; its clients go on with the other one.
        load.urls = urls[:1]
        second_process.signal(signal.SIGKILL, group=True)
        load.wait_for()
        door.open()
        away_seconds = time.monotonic() - closed_at
        with recovery():
            eventually(lambda: not lasting_ejections(stack), seconds=120)
        before = answers_of(stack)["door-0"]
        eventually(lambda: answers_of(stack)["door-0"] > before, seconds=60)

        # Another one is drained: from the next request on it gets no calls.
        stack.sql("UPDATE api_upstream SET drains_at = now() WHERE name = 'door-1'")
        drained_at = time.time()
        load.wait_for()

    assert load.failures == []
    # A busy machine may make our own limiter skip a route.
    failed = [
        each
        for each in attempts(stack)
        if each["status"] != 200 and "calls are under way" not in each["error"]
    ]
    assert {each["upstream"] for each in failed} == {"door-0"}
    # Per process: those that ejected it, those under way then, and its trials.
    trials = away_seconds / FIRST_EJECTION_SECONDS + 1
    assert len(failed) <= 2 * (FAILURES_IN_A_ROW + CLIENTS + trials)
    since = f"{int(drained_at * 1000) + 1000:012x}"
    after = stack.sql(
        "SELECT upstream FROM billing_usagerecord WHERE replace(request_id::text, '-', '') > %s"
        f" AND account_id IN {ACCOUNTS_OF}",
        since,
        EMAIL,
    )
    assert "door-1" not in {name for (name,) in after}
    eventually(lambda: "open" not in reservations(stack), seconds=90, what="a hold did not end")
    stack.check_ledger()


@pytest.fixture
def keyed(stack_with: Callable[..., Stack]) -> Iterator[tuple[Stack, list[str]]]:
    """The stack with a model whose one upstream has two keys, and two relay processes' URLs."""
    stack = stack_with(LEASE_SECONDS="2")
    stack.manage("shell", "-c", MAKE_KEYS)
    port = free_port()
    child = stack.start_second_web(port)
    yield stack, [f"{stack.base_url}/v1", f"http://127.0.0.1:{port}/v1"]
    child.stop()
    revoke(stack)
    stack.manage("shell", "-c", REMOVE_KEYS)


def revoke(stack: Stack, *names: str) -> None:
    """Let the upstream refuse these keys, and no others."""
    tokens = [f"sk-upstream-{name}-0123456789" for name in names]
    httpx.put(f"{stack.simulator_url}/v1/revoked-keys", json=tokens).raise_for_status()


def keys_of_answers(stack: Stack, status: int = 200) -> Counter[str]:
    """Return how many attempts with each key had this status."""
    made = [each for each in attempts(stack) if each["status"] == status]
    return Counter(each.get("key", "") for each in made)


def ejected_keys(stack: Stack) -> list[str]:
    """Return the keys by which routes are ejected."""
    rows = stack.sql(
        "SELECT k.name FROM api_routeejection e JOIN api_upstreamkey k ON k.id = e.key_id"
        " WHERE e.recovered_at IS NULL"
    )
    return [name for (name,) in rows]


def test_no_request_fails_that_another_key_could_serve(keyed: tuple[Stack, list[str]]) -> None:
    stack, urls = keyed
    limits = {"requests_per_minute": "1000000", "tokens_per_minute": "1000000000"}
    key = stack.customer(EMAIL, "50", **limits)
    began = keys_of_answers(stack)
    with Load(urls, key) as load:
        load.wait_for()
        assert {"first", "second"} == {*(keys_of_answers(stack) - began)}

        revoke(stack, "first")
        revoked_at = time.monotonic()
        eventually(lambda: ejected_keys(stack) == ["first"], seconds=60)
        load.wait_for()
        revoke(stack)
        away_seconds = time.monotonic() - revoked_at
        with recovery():
            eventually(lambda: not ejected_keys(stack), seconds=120)
        before = keys_of_answers(stack)["first"]
        eventually(lambda: keys_of_answers(stack)["first"] > before, seconds=60)

        # The other one is disabled: from the next request on it is not used.
        stack.sql("UPDATE api_upstreamkey SET is_enabled = false WHERE name = 'second'")
        load.wait_for(CLIENTS)
        before = keys_of_answers(stack)["second"]
        load.wait_for()
        assert keys_of_answers(stack)["second"] <= before + CLIENTS

    assert load.failures == []
    refused = keys_of_answers(stack, 401)
    assert set(refused) == {"first"}
    trials = away_seconds / FIRST_EJECTION_SECONDS + 1
    assert refused["first"] <= 2 * (FAILURES_IN_A_ROW + CLIENTS + trials)
    assert "sk-upstream" not in str(attempts(stack))
    eventually(lambda: "open" not in reservations(stack), seconds=90, what="a hold did not end")
    stack.check_ledger()
