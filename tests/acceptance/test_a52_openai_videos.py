"""Videos with OpenAI's own SDK, and as Z.AI's asks for them: the same jobs in other forms."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.talk import MOUNTS, Json, Talk, error, row_of, talk_to
from tests.acceptance.videos import VIDEO_NANOS, celery, finished, order, show
from tests.stack import Stack
from tests.support.waiting import eventually

MODEL = "cogvideox-3"
ASKED: Json = {"model": MODEL, "prompt": "A bird flying over the ocean", "size": "1920x1080"}
PNG = ("bird.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "image/png")


@pytest.fixture(scope="module", autouse=True)
def _celery(stack: Stack) -> Iterator[None]:
    with celery(stack):
        yield


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def get(talk: Talk, path: str) -> httpx.Response:
    with talk.client() as client:
        return client.get(path)


def ours(video_id: str) -> str:
    """Return the id that our own form has for a video."""
    return video_id.replace("video_", "video-")


@pytest.mark.filterwarnings("ignore:The Sora API")  # OpenAI's; the form outlives it
def test_the_sdk_orders_awaits_and_is_charged_once(
    stack: Stack, openai: Any, customer: tuple[str, str]
) -> None:
    made = openai.videos.create_and_poll(
        **ASKED, poll_interval_ms=200, extra_body={"simulate": "video_s=0"}
    )
    assert (made.object, made.status, made.progress, made.model) == (
        "video",
        "completed",
        100,
        MODEL,
    )
    assert made.completed_at >= made.created_at > 1_700_000_000
    assert made.error is None
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - VIDEO_NANOS
    assert balance["held_nanos"] == 0
    stack.check_ledger()


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_an_order_is_queued_and_held_for_under_every_mount(talk: Talk, mount: str) -> None:
    answer = talk.post(f"{mount}/videos", {**ASKED, "simulate": "video=stuck"})
    told = answer.json()
    assert answer.status_code == 200
    assert told == {
        "id": told["id"],
        "object": "video",
        "model": MODEL,
        "status": "queued",
        "progress": 0,
        "created_at": told["created_at"],
        "completed_at": None,
        "expires_at": None,
        "seconds": None,
        "size": "1920x1080",
        "remixed_from_video_id": None,
        "error": None,
    }
    assert talk.sent(answer)["path"].endswith("/videos/generations")
    shown = get(talk, f"{mount}/videos/{told['id']}").json()
    assert (shown["id"], shown["object"], shown["status"]) == (told["id"], "video", "in_progress")
    # The job itself is as any other.
    assert show(talk, ours(told["id"])).json() == {"id": ours(told["id"]), "status": "processing"}


def test_a_form_is_taken_as_well_and_a_picture_goes_with_it(talk: Talk) -> None:
    with talk.client() as client:
        answer = client.post(
            "/v1/videos",
            data={"model": MODEL, "prompt": "It flies", "seconds": "4"},
            files={"input_reference": PNG},
        )
    assert answer.status_code == 200, answer.text
    with talk.client() as client, row_of(talk.stack, MODEL, input_modalities=["text"]):
        refused = client.post("/v1/videos", data=ASKED, files={"input_reference": PNG})
    assert error(refused) == (400, "unsupported_parameter", "input_reference")
    assert talk.sent(answer)["params"]["duration"] == 4


def test_content_leads_to_the_video_once_it_is_finished(stack: Stack, talk: Talk) -> None:
    video = talk.post("/v1/videos", {**ASKED, "simulate": "video_s=0"}).json()["id"]
    stuck = talk.post("/v1/videos", {**ASKED, "simulate": "video=stuck"}).json()["id"]
    url = finished(talk, ours(video))["video_url"]
    for video_id in (video, ours(video)):
        led = get(talk, f"/v1/videos/{video_id}/content")
        assert (led.status_code, led.headers["location"], led.content) == (302, url, b"")
    assert error(get(talk, f"/v1/videos/{stuck}/content")) == (404, "not_found", "id")
    stranger = Talk(stack, stack.customer("a52-stranger@example.com"))
    for path in (f"/v1/videos/{video}", f"/v1/videos/{video}/content", f"/async-result/{video}"):
        assert error(get(stranger, path)) == (404, "not_found", "id")


def test_a_video_that_failed_says_so_in_every_form_and_is_free(stack: Stack, talk: Talk) -> None:
    video = talk.post("/v1/videos", {**ASKED, "simulate": "video=failed&video_s=0"}).json()["id"]
    finished(talk, ours(video))
    shown = get(talk, f"/v1/videos/{video}").json()
    assert (shown["status"], shown["progress"], shown["completed_at"]) == ("failed", 0, None)
    assert shown["error"]["code"] == "video_failed"
    result = get(talk, f"/api/paas/v4/async-result/{ours(video)}").json()
    assert (result["task_status"], result["error"]) == ("FAIL", shown["error"])
    row = talk.usage(ours(video).removeprefix("video-"), "charged_nanos", "outcome", "endpoint")
    assert row == (0, "upstream_error", "videos_generations")


def test_an_async_result_is_the_same_job_as_zai_shows_it(stack: Stack, talk: Talk) -> None:
    video = order(talk, "video_s=3")
    path = f"/api/paas/v4/async-result/{video}"
    assert get(talk, path).json() == {
        "id": video,
        "request_id": video,
        "model": MODEL,
        "task_status": "PROCESSING",
    }
    url = finished(talk, video)["video_url"]
    done = eventually(lambda: get(talk, path).json())
    assert (done["task_status"], done["video_result"]) == ("SUCCESS", [{"url": url}])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": None}, (400, "invalid_type", "prompt")),
        ({"prompt": " "}, (400, "invalid_value", "prompt")),
        ({"seconds": "long"}, (400, "invalid_type", "seconds")),
        ({"seconds": 0}, (400, "invalid_value", "seconds")),
        ({"size": "1x1"}, (400, "invalid_value", "size")),
        ({"input_reference": "bird.png"}, (400, "invalid_type", "input_reference")),
        ({"model": "glm-5.2"}, (400, "invalid_value", "model")),
        ({"model": "no-such"}, (404, "model_not_found", "model")),
    ],
)
def test_what_is_wrong_is_named(
    talk: Talk, fields: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = talk.post("/v1/videos", ASKED | fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)


@pytest.mark.parametrize("path", ["/v1/videos/x", "/v1/videos/x/content", "/v1/async-result/x"])
def test_an_unknown_id_is_404(talk: Talk, path: str) -> None:
    assert error(get(talk, path)) == (404, "not_found", "id")
