"""What the tests of videos share: orders, and a look at how they come along."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.acceptance.talk import Json, Talk
from tests.stack import Stack
from tests.support.waiting import eventually

# Z's own example.
BIRD: Json = {
    "model": "cogvideox-3",
    "prompt": "A bird flying over the ocean",
    "quality": "quality",
    "size": "1920x1080",
    "fps": 30,
    "with_audio": True,
}
VIDEO_NANOS = 200_000_000
PATH = "/v1/videos/generations"


@contextmanager
def celery(stack: Stack) -> Iterator[None]:
    """Run Celery and stop it."""
    stack.start_worker()
    try:
        yield
    finally:
        assert stack.worker is not None
        stack.worker.stop()


def balance(talk: Talk, video_id: str) -> tuple[int, int]:
    """Return what is posted and held of the account that a video was ordered on."""
    (row,) = talk.stack.sql(
        "SELECT a.posted_nanos, a.held_nanos FROM billing_creditaccount a"
        " JOIN api_videojob j ON j.account_id = a.id WHERE j.id = %s::uuid",
        request_id(video_id),
    )
    return row[0], row[1]


def order(talk: Talk, simulate: str = "", **fields: Any) -> str:
    """Order a video and return its id."""
    answer = talk.post(PATH, {**BIRD, **({"simulate": simulate} if simulate else {}), **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def show(talk: Talk, video_id: str, mount: str = "/v1") -> httpx.Response:
    """Return the answer to how a video is coming along."""
    with talk.client() as client:
        return client.get(f"{mount}/videos/{video_id}")


def finished(talk: Talk, video_id: str, *, seconds: float = 20) -> Json:
    """Return a video once it is no longer processing."""

    def done() -> Json | None:
        answer: Json = show(talk, video_id).json()
        return None if answer["status"] == "processing" else answer

    told: Json = eventually(done, seconds=seconds, every=0.2, what=f"{video_id} goes on")
    return told


def request_id(video_id: str) -> str:
    """Return the id of the request that ordered a video, which its usage record has."""
    return video_id.removeprefix("video-")


def settlements(stack: Stack, video_id: str) -> tuple[int, int]:
    """Return how many charges and how many usage records a video has."""
    number = request_id(video_id)
    (charges,) = stack.sql(
        "SELECT count(*) FROM billing_transfer WHERE kind = 'usage' AND reference = %s::uuid::text",
        number,
    )
    (records,) = stack.sql(
        "SELECT count(*) FROM billing_usagerecord WHERE request_id = %s::uuid", number
    )
    return charges[0], records[0]
