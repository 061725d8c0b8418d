"""12: a video's result, for its own team alone."""

import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, talk_to
from tests.acceptance.videos import celery, finished, order, show
from tests.stack import Stack


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def test_a12_a_finished_video_is_shown_under_every_mount(stack: Stack, talk: Talk) -> None:
    video = order(talk, "video_s=0")
    with celery(stack):
        told = finished(talk, video)

    assert told["status"] == "completed"
    for mount in MOUNTS:
        answer = show(talk, video, mount)
        assert answer.status_code == 200
        assert answer.json() == told
        assert int(answer.headers["x-ratelimit-limit"]) > 0


def test_a12_the_upstreams_id_is_never_shown(stack: Stack, talk: Talk) -> None:
    video = order(talk, "video=stuck")
    ((upstreams_id,),) = stack.sql(
        "SELECT upstream_job_id FROM api_videojob WHERE id = %s::uuid", video.removeprefix("video-")
    )
    assert upstreams_id.startswith("video-sim-")
    assert upstreams_id not in show(talk, video).text
    assert error(show(talk, upstreams_id))[:2] == (404, "not_found")


def test_a12_another_team_finds_nothing(stack: Stack, talk: Talk) -> None:
    video = order(talk, "video=stuck")
    stranger = Talk(stack, stack.customer("a12-stranger@example.com"))

    assert error(show(stranger, video)) == (404, "not_found", "id")
    assert show(talk, video).status_code == 200


@pytest.mark.parametrize(
    "video_id",
    ["video-xxx", "video-" + "0" * 32, "x", "video-" + "G" * 32, "%27%20OR%201=1", "video-1/2"],
)
def test_a12_an_unknown_id_is_404(talk: Talk, video_id: str) -> None:
    assert error(show(talk, video_id)) == (404, "not_found", "id")


def test_a12_a_key_is_needed(stack: Stack) -> None:
    nobody = Talk(stack, "sk-tg-" + "x" * 38)
    assert show(nobody, "video-" + "0" * 32).status_code == 401


def test_a12_asking_counts_against_no_limit(stack: Stack) -> None:
    talk = Talk(stack, stack.customer("a12-limited@example.com", requests_per_minute="1"))
    video = order(talk, "video=stuck")
    for _ in range(5):
        answer = show(talk, video)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-remaining"] == "0"


def test_a12_other_methods_are_405(talk: Talk) -> None:
    with talk.client() as client:
        assert client.delete("/v1/videos/video-1").status_code == 405
        assert client.get("/v1/videos/generations").status_code == 405
        assert client.options("/v1/videos/generations").status_code == 204
