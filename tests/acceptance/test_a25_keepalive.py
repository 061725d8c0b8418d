"""25: comments keep a silent stream alive."""

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.talk import events, talk_to
from tests.stack import Stack, running

COMMENT = ": keepalive"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service that sends a comment after a third of a second of silence."""
    folder = tmp_path_factory.mktemp("keepalive")
    with running(folder, KEEPALIVE_SECONDS="0.3") as started:
        yield started


@pytest.mark.parametrize("mount", ["/api/v1", "/ide/v1"])
def test_a25_comments_come_while_the_model_is_silent(impatient: Stack, mount: str) -> None:
    talk = talk_to(impatient)
    answer = talk.chat(mount, "first_ms=1200&tokens=3", stream=True)
    assert 2 <= answer.text.count(COMMENT) <= 4
    assert answer.text.startswith(COMMENT)
    assert events(answer)[-1]["choices"][0]["finish_reason"] == "stop"


def test_a25_comments_come_while_reasoning_is_held_back(impatient: Stack) -> None:
    answer = talk_to(impatient).chat("/ide/v1", "reasoning=20&pace_ms=60&tokens=2", stream=True)
    assert answer.text.count(COMMENT) >= 2
    assert len(events(answer)) <= 4


def test_a25_a_stream_that_flows_has_none(impatient: Stack) -> None:
    answer = talk_to(impatient).chat("/api/v1", "tokens=20&pace_ms=40", stream=True)
    assert COMMENT not in answer.text


def test_a25_plain_answers_have_none(impatient: Stack) -> None:
    answer = talk_to(impatient).chat("/api/v1", "first_ms=800")
    assert answer.status_code == 200
    assert isinstance(answer, httpx.Response)
    assert COMMENT not in answer.text
