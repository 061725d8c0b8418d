"""Reranking through the whole service: under every mount and at Cohere's path, charged exactly."""

from typing import Any

import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, talk_to
from tests.stack import Stack

MODEL = "rerank-v3.5"
UNIT_NANOS = 2_000_000  # $0.002
PATH = "/v1/rerank"
ASKED = {
    "model": MODEL,
    "query": "toll gate at dawn",
    "documents": ["A river", "The gate at dawn", {"text": "a toll gate at dawn"}],
}


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


@pytest.mark.parametrize(
    "path", [*[f"{mount}/rerank" for mount in MOUNTS if "coding" not in mount], "/v2/rerank"]
)
def test_the_best_come_first_under_every_mount(talk: Talk, path: str) -> None:
    answer = talk.post(path, {**ASKED, "top_n": 2, "return_documents": True})

    assert answer.status_code == 200
    told = answer.json()
    assert [(each["index"], each["document"]["text"]) for each in told["results"]] == [
        (2, "a toll gate at dawn"),
        (1, "The gate at dawn"),
    ]
    assert told["model"] == MODEL
    assert told["meta"]["billed_units"] == {"search_units": 1}
    assert told["usage"]["total_tokens"] == told["meta"]["tokens"]["input_tokens"] > 0
    assert answer.headers["x-request-cost"] == "0.002000000"
    assert talk.sent(answer)["path"].endswith("/rerank")


def test_the_charge_is_exact_and_the_hold_is_gone(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    answer = talk.post(PATH, {**ASKED, "documents": ["A gate"] * 201, "user": "u-1"})

    columns = ("charged_nanos", "endpoint", "outcome", "source", "lines")
    assert talk.usage(answer.headers["x-request-id"], *columns) == (
        3 * UNIT_NANOS,
        "rerank",
        "completed",
        "upstream",
        [
            ["input", talk.usage(answer.headers["x-request-id"], "input_tokens")[0], 0, 10**6, 0],
            ["search_unit", 3, UNIT_NANOS, 1, 3 * UNIT_NANOS],
        ],
    )
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - 3 * UNIT_NANOS
    assert balance["held_nanos"] == 0
    stack.check_ledger()


@pytest.mark.parametrize(
    ("simulate", "status"),
    [("body=garbage", 502), ("drop=1", 502), ("status=429", 429), ("status=400&message=No", 400)],
)
def test_what_fails_costs_nothing(talk: Talk, simulate: str, status: int) -> None:
    answer = talk.post(PATH, {**ASKED, "simulate": simulate})
    assert answer.status_code == status
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (0, "none")


def test_units_that_nobody_reports_are_estimated(talk: Talk) -> None:
    answer = talk.post(PATH, {**ASKED, "simulate": "usage=missing"})
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (
        UNIT_NANOS,
        "estimated",
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"documents": []}, (400, "invalid_value", "documents")),
        ({"query": ""}, (400, "invalid_value", "query")),
        ({"model": "glm-5.2"}, (400, "invalid_value", "model")),
        ({"model": "no-such"}, (404, "model_not_found", "model")),
    ],
)
def test_what_is_wrong_is_named(
    talk: Talk, fields: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = talk.post(PATH, ASKED | fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)
