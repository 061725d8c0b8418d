"""Embeddings with OpenAI's own SDK: both encodings, every form of input, charged to the digit."""

import math
from typing import Any

import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, row_of, talk_to
from tests.stack import Stack

MODEL = "text-embedding-3-small"
# $0.02 per million tokens.
TOKEN_NANOS = 20
PATH = "/v1/embeddings"


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def test_both_encodings_give_the_same_vectors(openai: Any) -> None:
    given = ["A toll gate", "at dawn"]
    packed = openai.embeddings.create(model=MODEL, input=given)
    plain = openai.embeddings.create(model=MODEL, input=given, encoding_format="float")
    assert packed.model == plain.model == MODEL
    assert [each.index for each in packed.data] == [0, 1]
    assert packed.data[0].embedding != packed.data[1].embedding
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
        assert math.hypot(*one.embedding) == pytest.approx(1, abs=1e-5)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


@pytest.mark.parametrize(
    ("given", "count"),
    [("A gate", 1), (["A", "B", "C"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
    ids=["text", "texts", "tokens", "lists"],
)
def test_every_form_of_input_and_a_length(openai: Any, given: Any, count: int) -> None:
    made = openai.embeddings.create(model=MODEL, input=given, dimensions=8, user="u-1")
    assert [len(each.embedding) for each in made.data] == [8] * count


def test_the_charge_is_exact_and_the_hold_is_gone(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    answer = talk.post(PATH, {"model": MODEL, "input": "x" * 4_000, "user": "u-1"})

    tokens = answer.json()["usage"]["prompt_tokens"]
    assert tokens == 1_000
    assert talk.usage(
        answer.headers["x-request-id"],
        "charged_nanos",
        "input_tokens",
        "output_tokens",
        "endpoint",
        "outcome",
        "source",
    ) == (tokens * TOKEN_NANOS, tokens, 0, "embeddings", "completed", "upstream")
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - tokens * TOKEN_NANOS
    assert balance["held_nanos"] == 0
    stack.check_ledger()


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_every_mount_serves_it(talk: Talk, mount: str) -> None:
    answer = talk.post(f"{mount}/embeddings", {"model": MODEL, "input": "A gate"})
    assert answer.status_code == 200
    assert talk.sent(answer)["path"].endswith("/embeddings")


@pytest.mark.parametrize(
    ("simulate", "status"),
    [("body=garbage", 502), ("drop=1", 502), ("status=429", 429), ("status=400&message=No", 400)],
)
def test_what_fails_costs_nothing(talk: Talk, simulate: str, status: int) -> None:
    answer = talk.post(PATH, {"model": MODEL, "input": "A gate", "simulate": simulate})
    assert answer.status_code == status
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (0, "none")


def test_usage_that_is_missing_is_estimated(talk: Talk) -> None:
    body = {"model": MODEL, "input": "x" * 400, "simulate": "usage=missing"}
    answer = talk.post(PATH, body)
    assert talk.usage(answer.headers["x-request-id"], "input_tokens", "source") == (
        100,
        "estimated",
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input": ""}, (400, "invalid_value", "input")),
        ({"model": "glm-5.2"}, (400, "invalid_value", "model")),
        ({"model": "no-such"}, (404, "model_not_found", "model")),
        ({"encoding_format": "hex"}, (400, "invalid_value", "encoding_format")),
    ],
)
def test_what_is_wrong_is_named(
    talk: Talk, fields: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = talk.post(PATH, {"model": MODEL, "input": "A gate"} | fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)


def test_the_rows_own_limit_holds(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    with row_of(stack, MODEL, requests_per_minute=1):
        first = talk.post(PATH, {"model": MODEL, "input": "A"})
        second = talk.post(PATH, {"model": MODEL, "input": "A"})
    assert (first.status_code, second.status_code) == (200, 429)
