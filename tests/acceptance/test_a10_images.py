"""10: pictures, checked by the model's row and charged by how many came (Z: $0.015 each)."""

import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, row_of, talk_to
from tests.stack import Stack

# Z's own example.
SUNSET = {"model": "glm-image", "prompt": "A sunset over mountains", "size": "1280x1280"}
PICTURE_NANOS = 15_000_000
PATH = "/v1/images/generations"


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_a10_one_picture_costs_its_price_under_every_mount(talk: Talk, mount: str) -> None:
    answer = talk.post(f"{mount}/images/generations", SUNSET)

    assert answer.status_code == 200
    assert answer.json().keys() == {"created", "data"}
    (picture,) = answer.json()["data"]
    assert picture["url"].startswith("data:image/png;base64,")
    assert isinstance(answer.json()["created"], int)
    assert answer.headers["x-request-cost"] == "0.015000000"
    row = talk.usage(
        answer.headers["x-request-id"], "charged_nanos", "images", "endpoint", "outcome", "source"
    )
    assert row == (PICTURE_NANOS, 1, "images_generations", "completed", "upstream")
    assert talk.sent(answer)["path"].endswith("/images/generations")
    assert talk.sent(answer)["params"]["size"] == "1280x1280"


def test_a10_the_charge_is_exact_and_the_hold_is_gone(
    stack: Stack, customer: tuple[str, str]
) -> None:
    talk = Talk(stack, customer[1])
    answer = talk.post(PATH, {**SUNSET, "n": 4})

    assert len(answer.json()["data"]) == 4
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - 4 * PICTURE_NANOS
    assert balance["held_nanos"] == 0


def test_a10_only_pictures_that_came_are_charged(talk: Talk) -> None:
    answer = talk.post(PATH, {**SUNSET, "n": 5, "simulate": "images=3"})

    assert len(answer.json()["data"]) == 3
    assert answer.headers["x-request-cost"] == "0.045000000"
    assert talk.usage(answer.headers["x-request-id"], "images", "reserved_nanos") == (
        3,
        5 * PICTURE_NANOS,
    )


def test_a10_more_pictures_than_were_asked_for_are_neither_charged_nor_given(talk: Talk) -> None:
    answer = talk.post(PATH, {**SUNSET, "simulate": "images=3"})

    assert len(answer.json()["data"]) == 1
    assert talk.charged(answer) == PICTURE_NANOS


@pytest.mark.parametrize(
    ("simulate", "status"),
    [
        ("images=0", 502),
        ("image=failed", 502),
        ("body=garbage", 502),
        ("body=html", 502),
        ("drop=1", 502),
        ("status=429", 429),
        ("status=400&message=No+such+style", 400),
    ],
)
def test_a10_no_picture_costs_nothing(talk: Talk, simulate: str, status: int) -> None:
    answer = talk.post(PATH, {**SUNSET, "simulate": simulate})

    assert answer.status_code == status
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source", "images") == (
        0,
        "none",
        0,
    )


def test_a10_a_size_that_the_model_does_not_make_is_refused_with_those_it_makes(talk: Talk) -> None:
    answer = talk.post(PATH, {**SUNSET, "size": "640x480"})

    assert error(answer) == (400, "invalid_value", "size")
    for size in ("1280x1280", "1568x1056", "960x1728"):
        assert f"'{size}'" in answer.json()["error"]["message"]
    assert talk.never_sent(answer)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": None}, (400, "invalid_type", "prompt")),
        ({"prompt": "  "}, (400, "invalid_value", "prompt")),
        ({"n": 0}, (400, "invalid_value", "n")),
        ({"n": 11}, (400, "invalid_value", "n")),
        ({"n": "2"}, (400, "invalid_type", "n")),
        ({"n": True}, (400, "invalid_type", "n")),
        ({"size": 5}, (400, "invalid_type", "size")),
        ({"response_format": "png"}, (400, "invalid_value", "response_format")),
        ({"stream": True}, (400, "unsupported_parameter", "stream")),
        ({"model": "glm-0"}, (404, "model_not_found", "model")),
        ({"model": "glm-5.2"}, (400, "invalid_value", "model")),
        ({"model": "cogvideox-3"}, (400, "invalid_value", "model")),
    ],
)
def test_a10_what_is_wrong_is_named(
    talk: Talk, fields: dict[str, object], expected: tuple[int, str, str]
) -> None:
    answer = talk.post(PATH, SUNSET | fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)


def test_a10_a_prompt_and_a_model_are_required(talk: Talk) -> None:
    assert error(talk.post(PATH, {"model": "glm-image"})) == (
        400,
        "missing_required_parameter",
        "prompt",
    )
    assert error(talk.post(PATH, {"prompt": "A"})) == (400, "missing_required_parameter", "model")


def test_a10_the_rows_refusals_hold_for_parameters_and_for_values(stack: Stack, talk: Talk) -> None:
    with row_of(stack, "glm-image", refused_parameters=["style", "quality.hd"]):
        styled = talk.post(PATH, {**SUNSET, "style": "vivid"})
        hd = talk.post(PATH, {**SUNSET, "quality": "hd"})
        standard = talk.post(PATH, {**SUNSET, "quality": "standard", "response_format": "url"})

    assert error(styled) == (400, "unsupported_parameter", "style")
    assert error(hd)[:2] == (400, "unsupported_parameter")
    assert standard.status_code == 200
    assert talk.sent(standard)["params"]["quality"] == "standard"


def test_a10_a_chat_model_is_no_image_model_and_the_other_way_round(talk: Talk) -> None:
    assert error(talk.chat(model="glm-image")) == (400, "invalid_value", "model")


def test_a10_the_coding_endpoint_makes_no_pictures(talk: Talk) -> None:
    answer = talk.post("/api/coding/paas/v4/images/generations", SUNSET)
    assert error(answer) == (403, "endpoint_not_allowed", "model")


def test_a10_too_little_credit_is_402_and_nothing_is_asked_for(stack: Stack) -> None:
    talk = Talk(stack, stack.customer("a10-poor@example.com", "0.059"))
    answer = talk.post(PATH, {**SUNSET, "n": 4})

    assert error(answer) == (402, "insufficient_quota", None)
    assert talk.never_sent(answer)
    assert talk.post(PATH, {**SUNSET, "n": 3}).status_code == 200


def test_a10_the_openai_sdk_makes_pictures(openai: object) -> None:
    images = openai.images.generate(model="glm-image", prompt="A sunset", size="1280x1280", n=2)
    heads = [image.url.partition(",")[0] for image in images.data]
    assert heads == ["data:image/png;base64"] * 2
