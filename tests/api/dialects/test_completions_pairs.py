"""Legacy completions over upstreams of every dialect: a prompt is one message of the user's."""

import json
from typing import Any

import pytest

from api import errors
from tests.api.dialects.clients import stream_data
from tests.api.dialects.pairs import exchange

TEXT = "sun fox map oak tea ink "
FOREIGN = ["anthropic_messages", "openai_responses"]

pytestmark = pytest.mark.parametrize("upstream", FOREIGN)


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "public-model", "prompt": "Once upon a time", **fields}


def test_a_prompt_is_answered(upstream: str) -> None:
    result = exchange("openai_completions", upstream, ask(), "tokens=6")
    answer = json.loads(result.body)
    assert answer["object"] == "text_completion"
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (TEXT, "stop")
    assert answer["usage"]["completion_tokens"] == 6


def test_a_stream_has_its_text_and_its_usage(upstream: str) -> None:
    body = ask(stream=True, stream_options={"include_usage": True})
    result = exchange("openai_completions", upstream, body, "tokens=6&reasoning=4")
    chunks = stream_data(result.body)
    texts = [choice["text"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == TEXT
    assert chunks[-1]["usage"]["completion_tokens"] == 10
    assert result.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "script",
    ["tokens=6&cached=3&prompt_tokens=9", "tokens=6&reasoning=4", "tokens=100000", "usage=missing"],
)
def test_a_plain_answer_by_a_stream_is_the_same(upstream: str, script: str) -> None:
    """As over a route that `streams_plain_answers`."""
    plain = exchange("openai_completions", upstream, ask(), script, max_tokens=50)
    by_stream = exchange(
        "openai_completions", upstream, ask(), script, max_tokens=50, by_stream=True
    )
    cut = exchange(
        "openai_completions", upstream, ask(), script, max_tokens=50, by_stream=True, piece=11
    )
    assert by_stream.sent["stream"] is True
    assert not plain.sent.get("stream")
    assert by_stream.usage == plain.usage
    answers = [json.loads(each.body) for each in (plain, by_stream, cut)]
    assert answers[0]["choices"][0]["text"]
    for answer in answers:
        answer.pop("created")
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 2), ("echo", True), ("suffix", "the end"), ("logprobs", 3), ("prompt", ["a", "b"])],
)
def test_what_a_conversation_cannot_say_is_refused(upstream: str, field: str, value: Any) -> None:
    with pytest.raises(errors.UnsupportedParameterError) as refused:
        exchange("openai_completions", upstream, ask(**{field: value}))
    assert refused.value.param == field
