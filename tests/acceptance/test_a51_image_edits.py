"""Edits of images with OpenAI's own SDK, charged by the images that came."""

from typing import Any

import httpx
import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, talk_to
from tests.stack import Stack

MODEL = "gpt-image-1"
IMAGE_NANOS = 40_000_000  # $0.04
PNG = ("house.png", b"\x89PNG\r\n\x1a\n" + bytes(500), "image/png")


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def edit(talk: Talk, mount: str = "/v1", **fields: str) -> httpx.Response:
    """Return the answer to a form with an image."""
    with talk.client() as client:
        return client.post(
            f"{mount}/images/edits",
            data={"model": MODEL, "prompt": "Winter", **fields},
            files={"image": PNG},
        )


def test_one_image_or_several_are_edited(openai: Any) -> None:
    one = openai.images.edit(model=MODEL, image=PNG, mask=PNG, prompt="Winter", n=2)
    several = openai.images.edit(model=MODEL, image=[PNG, PNG], prompt="Winter", size="1024x1024")
    assert (len(one.data), len(several.data)) == (2, 1)


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_one_image_costs_its_price_under_every_mount(talk: Talk, mount: str) -> None:
    answer = edit(talk, mount)
    assert answer.status_code == 200
    assert answer.json().keys() == {"created", "data"}
    columns = ("charged_nanos", "images", "endpoint", "outcome", "source")
    assert talk.usage(answer.headers["x-request-id"], *columns) == (
        IMAGE_NANOS,
        1,
        "images_edits",
        "completed",
        "upstream",
    )


def test_only_images_that_came_are_charged(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    answer = edit(talk, n="5", simulate="images=3")

    assert len(answer.json()["data"]) == 3
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - 3 * IMAGE_NANOS
    assert balance["held_nanos"] == 0
    stack.check_ledger()


@pytest.mark.parametrize(
    ("simulate", "status"),
    [("images=0", 502), ("body=garbage", 502), ("drop=1", 502), ("status=429", 429)],
)
def test_no_image_costs_nothing(talk: Talk, simulate: str, status: int) -> None:
    answer = edit(talk, simulate=simulate)
    assert answer.status_code == status
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (0, "none")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "glm-image"}, (400, "unsupported_parameter", "image")),
        ({"model": "glm-5.2"}, (400, "invalid_value", "model")),
        ({"size": "1x1"}, (400, "invalid_value", "size")),
        ({"n": "11"}, (400, "invalid_value", "n")),
    ],
)
def test_what_is_wrong_is_named(
    talk: Talk, fields: dict[str, str], expected: tuple[int, str, str]
) -> None:
    answer = edit(talk, **fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)
