"""Moderations with OpenAI's own SDK: texts and pictures, free in the default catalogue."""

from typing import Any

import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, talk_to
from tests.stack import Stack

MODEL = "omni-moderation-latest"
PATH = "/v1/moderations"
PICTURE = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def test_each_text_has_its_result(openai: Any) -> None:
    made = openai.moderations.create(model=MODEL, input=["Hello", "pure violence"])
    assert made.model == MODEL
    assert [each.flagged for each in made.results] == [False, True]
    assert made.results[1].categories.violence is True


def test_parts_have_one_result_together(openai: Any) -> None:
    given = [{"type": "text", "text": "Hello"}, PICTURE]
    made = openai.moderations.create(model=MODEL, input=given)
    assert [each.flagged for each in made.results] == [False]


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_it_is_free_under_every_mount_and_needs_no_model(talk: Talk, mount: str) -> None:
    answer = talk.post(f"{mount}/moderations", {"input": "Hello"})
    assert (answer.status_code, answer.json()["model"]) == (200, MODEL)
    assert answer.headers["x-request-cost"] == "0.000000000"
    row = talk.usage(answer.headers["x-request-id"], "charged_nanos", "endpoint", "outcome")
    assert row == (0, "moderations", "completed")


@pytest.mark.parametrize(
    ("simulate", "status"), [("body=garbage", 502), ("drop=1", 502), ("status=429", 429)]
)
def test_what_fails_is_an_error(talk: Talk, simulate: str, status: int) -> None:
    answer = talk.post(PATH, {"input": "Hello", "simulate": simulate})
    assert answer.status_code == status
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (0, "none")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input": []}, (400, "invalid_value", "input")),
        ({"input": [{"type": "sound"}]}, (400, "invalid_value", "input[0].type")),
        ({"model": "glm-5.2"}, (400, "invalid_value", "model")),
    ],
)
def test_what_is_wrong_is_named(
    talk: Talk, fields: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = talk.post(PATH, {"model": MODEL, "input": "Hello"} | fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)
