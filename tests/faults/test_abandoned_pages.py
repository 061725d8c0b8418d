"""Pages whose readers leave, read slowly or come all at once."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import psycopg
import pytest

from tests.faults.rows import recovery
from tests.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("pages", "readers who leave, read slowly or come all at once")

POOL_SIZE = 4
RESERVED = 2  # for webhooks and staff
LOCKED_OUT = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'api_service'::regclass"
)


@pytest.fixture
def stack(stack_with: Callable[..., Stack]) -> Stack:
    return stack_with(DATABASE_POOL_SIZE=str(POOL_SIZE))


def connect(stack: Stack, path: str, cookie: str = "") -> socket.socket:
    """Return a connection on which a GET was sent and nothing is read."""
    connection = socket.socket()
    # A small window, set before connecting: the server's answer soon waits for the reader.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(5)
    connection.connect(("127.0.0.1", stack.port))
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{stack.port}\r\nCookie: {cookie}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def status(stack: Stack, path: str = "/") -> int:
    return httpx.get(stack.base_url + path, timeout=30).status_code


def assert_pages_are_quick(stack: Stack) -> None:
    with recovery():
        eventually(lambda: status(stack) == 200)
    began_at = time.monotonic()
    with ThreadPoolExecutor(POOL_SIZE) as threads:
        assert list(threads.map(lambda _: status(stack), range(2 * POOL_SIZE))) == [200] * 8
    assert time.monotonic() - began_at < 10


def test_abandoned_page_loads_keep_no_connection(stack: Stack) -> None:
    for after_seconds in (0.0, 0.002, 0.01, 0.02, 0.05):
        for _ in range(4 * POOL_SIZE):
            with connect(stack, "/"):
                time.sleep(after_seconds)
    assert_pages_are_quick(stack)


@pytest.fixture
def session(stack: Stack) -> str:
    """Return the session cookie of the demo's customer."""
    login = f"{stack.base_url}/accounts/login/"
    with httpx.Client(follow_redirects=False, timeout=30) as browser:
        browser.get(login)
        token = browser.cookies["csrftoken"]
        customer = stack.demo["customer"]
        form = {"login": customer["email"], "password": customer["password"]}
        answer = browser.post(login, data={**form, "csrfmiddlewaretoken": token})
        assert answer.status_code == 302, answer.text
        return f"sessionid={browser.cookies['sessionid']}"


@pytest.mark.parametrize("path", ["/usage.csv", "/statement.csv"])
def test_exports_that_are_left_or_read_slowly_keep_no_connection(
    stack: Stack, session: str, path: str
) -> None:
    whole = httpx.get(stack.base_url + path, headers={"cookie": session}, timeout=30)
    assert whole.status_code == 200
    assert whole.headers["content-type"].startswith("text/csv")
    for after_seconds in (0.0, 0.01, 0.03, 0.06):
        for _ in range(2 * POOL_SIZE):
            with connect(stack, path, session):
                time.sleep(after_seconds)
    with ExitStack() as readers:
        for _ in range(4 * POOL_SIZE):
            readers.enter_context(connect(stack, path, session))
        time.sleep(1)
        assert_pages_are_quick(stack)


@pytest.fixture
def locked(stack: Stack) -> Iterator[psycopg.Connection]:
    """Hold a lock that every page waits for."""
    with psycopg.connect(stack.postgres.url) as connection:
        connection.execute("LOCK TABLE api_service IN ACCESS EXCLUSIVE MODE")
        yield connection


def test_a_full_pool_is_a_503_at_once_and_spares_webhooks_and_staff(
    stack: Stack, locked: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(4 * POOL_SIZE) as threads:
        waiting = [threads.submit(status, stack) for _ in range(POOL_SIZE)]
        eventually(lambda: stack.sql(LOCKED_OUT) == [(POOL_SIZE - RESERVED,)])
        began_at = time.monotonic()
        refused = httpx.get(f"{stack.base_url}/docs", timeout=30)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["content-type"].startswith("text/html")
        managed = httpx.get(f"{stack.base_url}/api/manage/v1/keys", timeout=30)
        assert managed.status_code == 503
        assert managed.json()["error"]["code"] == "service_unavailable"
        assert managed.headers["x-request-id"]
        assert time.monotonic() - began_at < 8
        event = {"stripe-signature": "forged"}
        webhook = httpx.post(f"{stack.base_url}/webhooks/stripe", headers=event, timeout=30)
        assert webhook.status_code == 400
        locked.rollback()
        eventually(lambda: all(page.done() for page in waiting))
        assert {page.result() for page in waiting} <= {200, 503}
    assert_pages_are_quick(stack)


def test_pages_say_503_while_the_database_is_away(stack: Stack) -> None:
    stack.postgres.stop("immediate")
    began_at = time.monotonic()
    answer = httpx.get(f"{stack.base_url}/", timeout=30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert time.monotonic() - began_at < 20
    stack.postgres.start()
    assert_pages_are_quick(stack)
