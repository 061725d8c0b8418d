"""Whole answers as no two upstreams send them: what the client gets, and what is charged."""

import json
from typing import Any

import pytest

from api.dialects.base import AnswerContext, DialectError
from api.dialects.openai_chat import CHAT
from api.dialects.openai_completions import COMPLETIONS
from tests.api.dialects.limits import Limits

Json = dict[str, Any]

HELLO = {"role": "assistant", "content": "Good day"}
USAGE = {"prompt_tokens": 31, "completion_tokens": 6, "total_tokens": 37}


def answer(message: Json | None = None, finish: Any = "stop", **fields: Any) -> Json:
    """Return a completion of one choice."""
    return {
        "id": "gen-7",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "theirs",
        "choices": [{"index": 0, "message": message or HELLO, "finish_reason": finish}],
        "usage": USAGE,
        **fields,
    }


def read(body: Json | bytes, dialect: Any = CHAT, field: Any = "reasoning_content") -> Json:
    """Return what the client gets, with the tokens that are charged as `charged`."""
    fields = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi"}
    context = AnswerContext(dialect.parse(fields, 0), "m", field)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = dialect.read_answer(raw, context)
    metered = made.meter(Limits())
    assert metered.usage is not None
    got = json.loads(made.body(metered.usage))
    kind = "text_completion" if dialect is COMPLETIONS else "chat.completion"
    assert (got["object"], got["model"]) == (kind, "m")
    assert isinstance(got["id"], str)
    assert isinstance(got["created"], int)
    used = got["usage"]
    assert used["prompt_tokens"] == metered.usage.input_tokens
    assert used["completion_tokens"] == metered.usage.output_tokens
    got["charged"] = (
        metered.usage.input_tokens,
        metered.usage.cached_tokens,
        metered.usage.output_tokens,
    )
    return dict(got)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "assistant", "content": [{"type": "text", "text": "Good day"}]}, HELLO),
        (
            {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes"}]},
            {"content": "Yes", "reasoning_content": "hm"},
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "t", "type": "", "function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
            ]},
        ),
        (
            {"content": None, "tool_calls": {"id": "t", "function": {"name": "f"}}},
            {"content": None, "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        ),
        ({"content": "Yes", "reasoning": {"text": "hm"}},
         {"content": "Yes", "reasoning_content": "hm"}),
        ({"content": 42, "audio": "", "images": ""}, {"content": "42"}),
    ],
)  # fmt: skip
def test_a_message_is_brought_into_form(message: Json, expected: Json) -> None:
    got = read(answer(message))
    assert got["choices"][0]["message"] == expected
    assert got["charged"] == (31, 0, 6)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None, "object": None, "created": None, "model": None},
        {"error": ""},
        {"error": {}},
        {"choices": [{"message": HELLO}]},
        {"choices": [{"index": 0, "message": HELLO, "finish_reason": ""}]},
        {"choices": [{"index": 0, "delta": HELLO, "finish_reason": "end_turn"}]},
    ],
)
def test_members_that_clients_need_are_there(changes: Json) -> None:
    got = read(answer(**changes))
    assert got["choices"][0]["message"] == HELLO
    assert got["choices"][0]["finish_reason"] in {"stop", None}
    assert not got.get("error")


@pytest.mark.parametrize(
    ("fields", "charged"),
    [
        (
            {"usage": None, "choices": [{"index": 0, "message": HELLO, "finish_reason": "stop",
                                         "usage": {**USAGE, "cached_tokens": 16}}]},
            (31, 16, 6),
        ),
        ({"usage": None, "x_groq": {"usage": USAGE}}, (31, 0, 6)),
        ({"usage": None, **USAGE}, (31, 0, 6)),
        ({"usage": {}, **USAGE}, (31, 0, 6)),
    ],
)  # fmt: skip
def test_usage_is_found_where_it_stands(fields: Json, charged: tuple[int, int, int]) -> None:
    got = read(answer(**fields))
    assert got["charged"] == charged
    assert "usage" not in got["choices"][0]


@pytest.mark.parametrize(
    "body",
    [
        b"\n\n \n" + json.dumps(answer()).encode(),
        b"\xef\xbb\xbf" + json.dumps(answer()).encode(),
        json.dumps(answer()).encode().replace(b'"Good day"', b'"Good day\\ud83d"'),
        json.dumps(answer()).encode().replace(b'"Good day"', b'"Good\tday"'),
        json.dumps(answer(logprob=float("-inf"))).encode(),
    ],
)
def test_json_needs_not_be_strict(body: bytes) -> None:
    assert read(body)["choices"][0]["message"]["content"].startswith("Good")


@pytest.mark.parametrize(
    "body",
    [
        {"object": "error", "message": "no memory left", "code": 500},
        {"code": 1013, "msg": "no memory left", "success": False},
        {"detail": "no memory left"},
        answer(choices=[]),
        answer(choices=None),
        answer(choices={}),
        answer(choices=[5]),
        answer(error={"message": "no memory left"}),
        answer({"role": "assistant", "content": ""}, "error"),
        answer(choices=[{"index": 0, "message": HELLO, "error": {"code": 502}}]),
        b"<html>",
        b"[]",
        b'{"id": 1e999}',
        b"[" * 100_000,
    ],
)
def test_what_has_no_answer_is_an_error(body: Any) -> None:
    with pytest.raises(DialectError):
        read(body)


def test_what_is_proved_passes_as_it_came() -> None:
    body = json.dumps(answer(service="x", odd=[1.50, {"b": None}])).encode()
    context = AnswerContext(
        CHAT.parse({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, 0), "m", None
    )
    made = CHAT.read_answer(body, context)
    usage = made.meter(Limits()).usage
    assert usage is not None
    assert made.body(usage) == body.replace(b'"theirs"', b'"m"')


def test_legacy_completions_are_repaired_alike() -> None:
    choice = {"text": ["Good", " day"], "finish_reason": "eos"}
    got = read(answer(object="text_completion", choices=[choice]), COMPLETIONS)
    assert got["choices"] == [{"index": 0, "text": "Good day", "finish_reason": "stop"}]
