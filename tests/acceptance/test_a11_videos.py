"""11: videos are ordered and come later: held at the order, settled or released at the end."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, row_of, talk_to
from tests.acceptance.videos import (
    BIRD,
    PATH,
    VIDEO_NANOS,
    balance,
    celery,
    finished,
    order,
    request_id,
    settlements,
    show,
)
from tests.stack import Stack
from tests.support.waiting import eventually

COLUMNS = ("outcome", "source", "charged_nanos", "pieces", "endpoint", "error")


class Seen(NamedTuple):
    """What one poll was told, and when it asked and heard."""

    asked_at: float
    answered_at: float
    status: str


@pytest.fixture(scope="module", autouse=True)
def _celery(stack: Stack) -> Iterator[None]:
    with celery(stack):
        yield


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_a11_an_order_answers_an_id_and_processing_under_every_mount(
    talk: Talk, mount: str
) -> None:
    answer = talk.post(f"{mount}/videos/generations", BIRD)

    assert answer.status_code == 200
    assert answer.json() == {
        "id": f"video-{answer.headers['x-request-id']}",
        "status": "processing",
    }
    sent = talk.sent(answer)["params"]
    assert {name: sent[name] for name in ("quality", "size", "fps", "with_audio")} == {
        "quality": "quality",
        "size": "1920x1080",
        "fps": 30,
        "with_audio": True,
    }
    shown = show(talk, answer.json()["id"], mount)
    assert shown.json() == answer.json()


def test_a11_a_video_is_held_at_the_order_and_charged_when_it_is_finished(
    stack: Stack, customer: tuple[str, str]
) -> None:
    talk = Talk(stack, customer[1])
    video = order(talk, "video_s=2")
    held = balance(talk, video)
    told = finished(talk, video)

    assert held == (10_000_000_000, VIDEO_NANOS)
    assert balance(talk, video) == (10_000_000_000 - VIDEO_NANOS, 0)
    assert told.keys() == {"id", "status", "video_url"}
    assert (told["id"], told["status"]) == (video, "completed")
    assert told["video_url"].startswith("https://videos.sim.invalid/")
    assert talk.usage(request_id(video), *COLUMNS) == (
        *("completed", "upstream", VIDEO_NANOS, 1, "videos_generations", ""),
    )
    assert stack.sql(
        "SELECT state FROM billing_reservation WHERE id = %s::uuid", request_id(video)
    ) == [("settled",)]
    stack.check_ledger()


def test_a11_a_video_that_fails_is_free_and_says_why(
    stack: Stack, customer: tuple[str, str]
) -> None:
    talk = Talk(stack, customer[1])
    video = order(talk, "video_s=0&video=failed")
    told = finished(talk, video)

    assert (told["id"], told["status"]) == (video, "failed")
    assert told["error"]["code"] == "video_failed"
    assert told["error"]["message"] == "The video could not be made."
    assert "video_url" not in told
    assert balance(talk, video) == (10_000_000_000, 0)
    outcome, source, charged, pieces, _, why = talk.usage(request_id(video), *COLUMNS)
    assert (outcome, source, charged, pieces) == ("upstream_error", "none", 0, 0)
    assert why == "The video could not be made."
    stack.check_ledger()


def test_a11_a_video_that_takes_too_long_is_free(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    video = order(talk, "video=stuck")
    (bound,) = stack.sql(
        "SELECT extract(epoch FROM j.expires_at - j.created_at)::float8,"
        " r.expires_at > j.expires_at FROM api_videojob j"
        " JOIN billing_reservation r ON r.id = j.id WHERE j.id = %s::uuid",
        request_id(video),
    )
    assert bound == (1800.0, True)  # VIDEO_MAX_SECONDS, and the hold outlives it
    eventually(lambda: stack.journal(request_id=request_id(video))[-1]["method"] == "GET")
    assert show(talk, video).json()["status"] == "processing"
    stack.sql(
        "UPDATE api_videojob SET expires_at = now(), next_poll_at = now() WHERE id = %s::uuid",
        request_id(video),
    )
    told = finished(talk, video)

    assert (told["status"], told["error"]["code"]) == ("failed", "video_expired")
    assert balance(talk, video) == (10_000_000_000, 0)
    assert talk.usage(request_id(video), "outcome", "charged_nanos") == ("upstream_timeout", 0)
    stack.check_ledger()


def test_a11_an_upstream_that_is_away_while_polled_is_asked_again(stack: Stack, talk: Talk) -> None:
    video = order(talk, "video_s=2")
    address = "UPDATE api_upstream SET base_url = %s WHERE base_url = %s"
    (here,) = stack.sql("SELECT DISTINCT base_url FROM api_upstream")[0]
    away = "http://127.0.0.1:9/v1"
    stack.sql(address, away, here)
    try:
        eventually(lambda: "video_upstream_silent" in stack.log("worker"))
        assert show(talk, video).json()["status"] == "processing"
        stack.sql(address, here, away)
        assert finished(talk, video)["status"] == "completed"
    finally:
        stack.sql(address, here, away)
    assert settlements(stack, video) == (1, 1)


def test_a11_a_worker_killed_between_polls_harms_nothing(stack: Stack, talk: Talk) -> None:
    """It has the upstream's word that the video is finished, and dies before it writes it down."""
    stack.worker.stop()
    video = order(talk, "video_s=0")
    stack.start_worker(TOLLGATE_FAILPOINT="after_video_poll")
    eventually(lambda: not stack.worker.running, seconds=20, what="the worker lives on")
    assert show(talk, video).json()["status"] == "processing"
    assert settlements(stack, video) == (0, 0)

    stack.start_worker()
    assert finished(talk, video)["status"] == "completed"

    assert settlements(stack, video) == (1, 1)
    stack.check_ledger()


def test_a11_twenty_racing_polls_end_in_one_settlement(
    stack: Stack, customer: tuple[str, str]
) -> None:
    """Two workers whose jobs are always due, and twenty clients who ask, over the whole time."""
    talk = Talk(stack, customer[1])
    videos = [order(talk, "video_s=2") for _ in range(3)]
    seen: dict[str, list[Seen]] = {video: [] for video in videos}
    stop = threading.Event()

    def due() -> None:
        while not stop.wait(0.05):
            stack.sql("UPDATE api_videojob SET next_poll_at = now() WHERE state = 'processing'")

    def ask(video: str) -> None:
        with talk.client() as client:
            while not stop.wait(0.05):
                asked_at = time.monotonic()
                status = client.get(f"/v1/videos/{video}").json()["status"]
                seen[video].append(Seen(asked_at, time.monotonic(), status))

    threads = [threading.Thread(target=due)]
    threads += [threading.Thread(target=ask, args=(videos[n % 3],)) for n in range(20)]
    first = stack.worker
    with celery(stack):
        for thread in threads:
            thread.start()
        told = [finished(talk, video) for video in videos]
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
    stack.worker = first

    assert [answer["status"] for answer in told] == ["completed"] * 3
    for video in videos:
        # Never back from its end: whoever asked after the first answer of it was told of it.
        ended_at = min(one.answered_at for one in seen[video] if one.status == "completed")
        later = {one.status for one in seen[video] if one.asked_at > ended_at}
        assert later == {"completed"}
        assert settlements(stack, video) == (1, 1)
    assert balance(talk, videos[0]) == (10_000_000_000 - 3 * VIDEO_NANOS, 0)
    stack.check_ledger()


@pytest.mark.parametrize(
    ("simulate", "status"),
    [("status=500", 502), ("status=429", 429), ("body=garbage", 502), ("drop=1", 502)],
)
def test_a11_an_order_that_no_upstream_takes_is_free(
    stack: Stack, talk: Talk, simulate: str, status: int
) -> None:
    answer = talk.post(PATH, {**BIRD, "simulate": simulate})

    assert answer.status_code == status
    number = answer.headers["x-request-id"]
    assert talk.usage(number, "charged_nanos", "source") == (0, "none")
    assert stack.sql("SELECT state FROM api_videojob WHERE id = %s::uuid", number) == [("failed",)]


def test_a11_an_order_whose_answer_was_never_kept_is_free_and_alerts(
    stack: Stack, talk: Talk
) -> None:
    """What a process leaves that dies in between (tests/faults has the crash itself)."""
    video = order(talk, "video=stuck")
    number = request_id(video)
    stack.sql(
        "UPDATE api_videojob SET upstream_job_id = '', next_poll_at = now() WHERE id = %s::uuid",
        number,
    )
    told = finished(talk, video)

    assert (told["status"], told["error"]["code"]) == ("failed", "video_failed")
    assert talk.usage(number, "charged_nanos", "outcome") == (0, "upstream_error")
    ((detail,),) = stack.sql(
        "SELECT detail FROM billing_ledgeralert"
        " WHERE kind = 'video_order_lost' AND reference = %s::uuid::text",
        number,
    )
    assert video in detail


def test_a11_a_client_who_leaves_during_the_order_finds_the_video_by_the_requests_id(
    stack: Stack, talk: Talk
) -> None:
    with pytest.raises(httpx.ReadTimeout), talk.client() as client:
        client.post(PATH, json={**BIRD, "simulate": "first_ms=1000&video_s=0"}, timeout=0.3)
    newest = "SELECT id::text FROM api_videojob ORDER BY created_at DESC LIMIT 1"
    ((number,),) = stack.sql(newest)
    assert finished(talk, f"video-{number.replace('-', '')}")["status"] == "completed"
    assert talk.usage(number, "charged_nanos")[0] == VIDEO_NANOS


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda body: body.pop("prompt"), (400, "missing_required_parameter", "prompt")),
        (lambda body: body.pop("model"), (400, "missing_required_parameter", "model")),
        (lambda body: body.update(prompt=" "), (400, "invalid_value", "prompt")),
        (lambda body: body.update(prompt=3), (400, "invalid_type", "prompt")),
        (lambda body: body.update(size="1x1"), (400, "invalid_value", "size")),
        (lambda body: body.update(fps="fast"), (400, "invalid_type", "fps")),
        (lambda body: body.update(fps=0), (400, "invalid_value", "fps")),
        (lambda body: body.update(with_audio="yes"), (400, "invalid_type", "with_audio")),
        (lambda body: body.update(duration=0), (400, "invalid_value", "duration")),
        (lambda body: body.update(n=2), (400, "unsupported_parameter", "n")),
        (lambda body: body.update(model="glm-image"), (400, "invalid_value", "model")),
        (lambda body: body.update(model="nobody"), (404, "model_not_found", "model")),
    ],
)
def test_a11_what_is_wrong_is_named(
    talk: Talk, change: Callable[[dict[str, Any]], Any], expected: tuple[int, str, str]
) -> None:
    body = dict(BIRD)
    change(body)
    answer = talk.post(PATH, body)
    assert error(answer) == expected
    assert talk.never_sent(answer)


@pytest.mark.parametrize(
    "fields",
    [
        {"image_url": "https://pictures.invalid/bird.png"},
        {"image_url": ["https://pictures.invalid/1.png", "https://pictures.invalid/2.png"]},
        {"image_url": {"url": "https://pictures.invalid/bird.png"}},
        {"image_urls": ["https://pictures.invalid/1.png"], "prompt": "Let it fly"},
    ],
)
def test_a11_a_video_is_made_from_pictures_where_the_model_takes_them(
    stack: Stack, talk: Talk, fields: dict[str, Any]
) -> None:
    body = {**BIRD, **fields}
    if "image_url" in fields:
        del body["prompt"]
    assert talk.post(PATH, body).status_code == 200
    with row_of(stack, "cogvideox-3", input_modalities=["text"]):
        refused = talk.post(PATH, body)
    assert error(refused)[:2] == (400, "unsupported_parameter")


def test_a11_too_little_credit_is_402(stack: Stack) -> None:
    talk = Talk(stack, stack.customer("a11-poor@example.com", "0.399"))
    order(talk, "video=stuck")

    answer = talk.post(PATH, BIRD)

    assert error(answer) == (402, "insufficient_quota", None)
    assert talk.never_sent(answer)
