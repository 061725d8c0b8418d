"""35: each answer to a known key says what is left of the minute, and until when."""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.acceptance.talk import MOUNTS, Json, Talk
from tests.acceptance.videos import BIRD, order
from tests.stack import Stack

LIMIT = 50
HELLO = [{"role": "user", "content": "Hello!"}]
CHAT = {"model": "glm-5.2", "messages": HELLO, "simulate": "tokens=1"}


@pytest.fixture(scope="module")
def talk(stack: Stack) -> Talk:
    return Talk(stack, stack.customer("a35@example.com", requests_per_minute=str(LIMIT)))


def check(answer: httpx.Response) -> int:
    """Check the headers and return how many requests are left."""
    headers = answer.headers
    assert headers["x-ratelimit-limit"] == str(LIMIT)
    left = int(headers["x-ratelimit-remaining"])
    assert 0 <= left <= LIMIT
    answered = parsedate_to_datetime(headers["date"]).timestamp()  # full seconds
    reset = int(headers["x-ratelimit-reset"])
    assert answered - answer.elapsed.total_seconds() - 1 <= reset <= time.time() + 61
    assert headers["x-ratelimit-remaining-requests"] == str(left)
    return left


def within_a_minute(ask: Callable[[], httpx.Response]) -> tuple[int, int]:
    """Return what two requests in the same minute say is left."""
    while True:
        first, second = ask(), ask()
        left = check(first), check(second)
        if first.headers["x-ratelimit-reset"] == second.headers["x-ratelimit-reset"]:
            return left


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/chat/completions", CHAT, 200),
        ("/chat/completions", {**CHAT, "stream": True}, 200),
        ("/completions", {"model": "glm-5.2", "prompt": "Hello!", "simulate": "tokens=1"}, 200),
        ("/images/generations", {"model": "glm-image", "prompt": "A sunset"}, 200),
        ("/videos/generations", BIRD, 200),
        ("/chat/completions", {**CHAT, "model": "glm-0"}, 404),
        ("/chat/completions", {**CHAT, "messages": "Hello!"}, 400),
        ("/chat/completions", {**CHAT, "simulate": "status=500"}, 502),
        ("/chat/completions", {**CHAT, "simulate": "status=429"}, 429),
        ("/images/generations", {"model": "glm-image", "prompt": "A", "size": "1x1"}, 400),
    ],
)
def test_a35_every_answer_has_them(talk: Talk, path: str, body: Json, status: int) -> None:
    answer = talk.post(f"/v1{path}", body)
    assert answer.status_code == status
    check(answer)


@pytest.mark.parametrize("mount", MOUNTS)
def test_a35_under_every_mount(talk: Talk, mount: str) -> None:
    before, after = within_a_minute(lambda: talk.chat(mount, simulate="tokens=1", model="glm-4.7"))
    assert after == before - 1


@pytest.mark.parametrize("path", ["/models", "/models/glm-5.2", "/chat/models"])
def test_a35_what_counts_nothing_has_them_too(talk: Talk, path: str) -> None:
    def ask() -> httpx.Response:
        with talk.client() as client:
            return client.get(f"/v1{path}").raise_for_status()

    before, after = within_a_minute(ask)
    assert after == before


def test_a35_a_video_that_is_asked_for_has_them(talk: Talk) -> None:
    video = order(talk, "video=stuck")
    with talk.client() as client:
        check(client.get(f"/v1/videos/{video}"))


def test_a35_a_page_of_another_origin_may_read_them(talk: Talk) -> None:
    with talk.client() as client:
        answer = client.post(
            "/v1/chat/completions", json=CHAT, headers={"origin": "https://page.example"}
        )
    exposed = answer.headers["access-control-expose-headers"]
    for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"):
        assert name in exposed
