"""Pages and API in processes of their own, behind the shipped nginx: what befalls the pages, and
what one customer sends, leaves the calls of others served.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from local.child import Child
from tests.config.nginx import nginx
from tests.faults.rows import recovery
from tests.stack import WEB_COMMAND, Stack, chat, free_port
from tests.support.forks import ROOT
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("apart", "pages killed or overrun, and 9.9 MB bodies: calls go on")

BODY_BYTES = 9_900_000
SENDERS, BODIES, CALLS_PER_BODY = 2, 2, 5
READERS = 24


class Site:
    """The production shape: a stack that serves the API alone, a process of pages, and nginx."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.pages_port = free_port()
        self.address = ""
        self._pages: Child | None = None

    @property
    def pages(self) -> Child:
        assert self._pages is not None
        return self._pages

    def start_pages(self) -> None:
        """Start the process of pages."""
        self._pages = Child(
            "pages",
            WEB_COMMAND,
            log=self.stack.folder / "pages.log",
            env=self.stack.environment | {"SERVES": "pages", "PORT": str(self.pages_port)},
            cwd=ROOT,
        )
        self._pages.start()

    def page_status(self, path: str = "/", timeout_seconds: float = 10) -> int:
        """Return the status of a page, and 0 where none comes."""
        with suppress(httpx.TransportError):
            return httpx.get(self.address + path, timeout=timeout_seconds).status_code
        return 0

    def client(self, key: str) -> httpx.Client:
        """Return a client of the API behind nginx."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=f"{self.address}/v1", headers=headers, timeout=60)


@pytest.fixture
def site(stack_with: Callable[..., Stack], tmp_path: Path) -> Iterator[Site]:
    site = Site(stack_with(SERVES="api"))
    upstreams = {"pages": site.pages_port, "api": site.stack.port}
    with nginx(tmp_path, upstreams) as site.address:
        site.start_pages()
        try:
            eventually(
                lambda: site.page_status() == 200, seconds=90, what="the pages do not answer"
            )
            yield site
        finally:
            site.pages.signal(signal.SIGCONT, group=True)
            site.pages.stop()


@contextmanager
def calls(site: Site, key: str) -> Iterator[list[int]]:
    """Call without a pause; give the list of statuses, which grows."""
    statuses: list[int] = []
    stop = threading.Event()

    def run() -> None:
        with site.client(key) as client:
            while not stop.is_set():
                statuses.append(
                    client.post("/chat/completions", json=chat(max_tokens=5)).status_code
                )

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(run) for _ in range(2)]
        try:
            yield statuses
        finally:
            stop.set()
    assert [thread.result() for thread in running] == [None, None]
    assert set(statuses) == {200}


def served_on(statuses: list[int], count: int = 20) -> None:
    """Wait until so many calls more are served."""
    goal = len(statuses) + count
    eventually(lambda: len(statuses) >= goal, seconds=20, what=f"{len(statuses)} of {goal} calls")


def unlimited(stack: Stack, email: str) -> str:
    limits = {"requests_per_minute": "100000", "tokens_per_minute": "100000000"}
    return stack.customer(email, "10", **limits)


def test_pages_that_die_hang_or_are_overrun_leave_the_calls_served(site: Site) -> None:
    with calls(site, unlimited(site.stack, "apart@example.com")) as statuses:
        site.pages.signal(signal.SIGKILL, group=True)
        site.pages.wait(30)
        assert site.page_status() == 502
        served_on(statuses)
        with recovery():
            site.start_pages()
            eventually(lambda: site.page_status() == 200, seconds=90)

        site.pages.signal(signal.SIGSTOP, group=True)
        assert site.page_status(timeout_seconds=1) == 0
        served_on(statuses)
        site.pages.signal(signal.SIGCONT, group=True)

        with ThreadPoolExecutor(READERS) as readers:
            loads = [readers.submit(site.page_status, "/docs", 0.3) for _ in range(10 * READERS)]
            served_on(statuses)
            assert {load.result() for load in loads} <= {0, 200, 503}
        with recovery():
            eventually(lambda: site.page_status() == 200, seconds=60)


def test_large_bodies_of_one_team_leave_the_calls_of_another_served(site: Site) -> None:
    """Count calls, as times depend on the machine: decoded in the event loop, a body of so many
    messages stops it for seconds, calls time out and hardly any is served between two bodies.
    """
    sender = site.stack.customer("sender@example.com", "10", tokens_per_minute="1000")
    message = {"role": "user", "content": ""}
    body = json.dumps({"model": "glm-5.2", "messages": [message] * (BODY_BYTES // 33)}).encode()

    def send() -> list[int]:
        headers = {"content-type": "application/json"}
        with site.client(sender) as client:
            return [
                client.post("/chat/completions", content=body, headers=headers).status_code
                for _ in range(BODIES)
            ]

    statuses = []
    other = unlimited(site.stack, "other@example.com")
    with ThreadPoolExecutor(SENDERS) as threads, site.client(other) as client:
        sending = [threads.submit(send) for _ in range(SENDERS)]
        while not all(thread.done() for thread in sending):
            statuses.append(client.get("/models").status_code)
    assert {status for thread in sending for status in thread.result()} == {429}
    assert set(statuses) == {200}
    assert len(statuses) >= SENDERS * BODIES * CALLS_PER_BODY
