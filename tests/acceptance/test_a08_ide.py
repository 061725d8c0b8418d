"""8: on /ide the answer alone is in `content`, and the reasoning there when there is no answer."""

import pytest

from tests.acceptance.talk import deltas, route_of, talk_to
from tests.stack import Stack

DIALECTS = ("reasoning", "reasoning_content", "think")
IDE = "/ide/v1"
# This model's routes are told to have tags, for the tests of that dialect.
MODEL = "kimi-k2"
# Two input tokens at $1.50, and output at $6.00 per million.
PROMPT_NANOS, TOKEN_NANOS = 2 * 1_500, 6_000


@pytest.fixture(scope="module", autouse=True)
def _tagged_routes(stack: Stack):
    with route_of(stack, MODEL, reasoning_dialect="think"):
        yield


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a08_content_is_the_clean_answer(stack: Stack, dialect: str) -> None:
    talk = talk_to(stack)
    script = f"reasoning=8&tokens=5&dialect={dialect}"
    message = talk.message(IDE, script, model=MODEL)
    assert message.keys() == {"role", "content"}
    assert message["content"] == talk.message(simulate="tokens=5", model=MODEL)["content"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a08_without_an_answer_content_is_the_reasoning(stack: Stack, dialect: str) -> None:
    talk = talk_to(stack)
    message = talk.message(IDE, f"reasoning=8&tokens=0&dialect={dialect}", model=MODEL)
    assert message.keys() == {"role", "content"}
    shown = talk.message("/v1", "reasoning=8&tokens=0", model=MODEL)["reasoning"]
    assert message["content"] == shown


@pytest.mark.parametrize("split", ["", "&split=3", "&chunk_tokens=3"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a08_a_stream_brings_the_clean_answer(stack: Stack, dialect: str, split: str) -> None:
    talk = talk_to(stack)
    chunks = talk.chunks(IDE, f"reasoning=8&tokens=5&dialect={dialect}{split}", model=MODEL)
    plain = talk.message(simulate="tokens=5", model=MODEL)["content"]
    assert "".join(deltas(chunks, "content")) == plain
    assert not any("reasoning" in name for chunk in chunks for name in _names(chunk))
    # Reasoning tokens leave no empty chunks behind: role, answer, finish reason.
    assert len(chunks) <= 5 + 2
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a08_a_stream_without_an_answer_brings_the_reasoning_at_its_end(
    stack: Stack, dialect: str
) -> None:
    talk = talk_to(stack)
    chunks = talk.chunks(IDE, f"reasoning=8&tokens=0&dialect={dialect}", model=MODEL)
    shown = talk.message("/v1", "reasoning=8&tokens=0", model=MODEL)["reasoning"]
    assert deltas(chunks, "content") == [shown]
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a08_reasoning_that_ends_at_the_limit_is_the_answer(stack: Stack) -> None:
    # The tag is never closed.
    talk = talk_to(stack)
    fields = {"model": MODEL, "max_tokens": 4}
    message = talk.message(IDE, "reasoning=8&dialect=think", **fields)
    assert len(message["content"]) == 16
    chunks = talk.chunks(IDE, "reasoning=8&dialect=think", **fields)
    assert "".join(deltas(chunks, "content")) == message["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_a08_each_choice_is_told_apart(stack: Stack) -> None:
    chunks = talk_to(stack).chunks(IDE, "reasoning=3&tokens=4&dialect=think", model=MODEL, n=3)
    assert [len("".join(deltas(chunks, "content", index))) for index in range(3)] == [16] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_a08_reasoning_is_billed_though_it_is_not_shown(stack: Stack, stream: bool) -> None:
    talk = talk_to(stack)
    answer = talk.chat(IDE, "reasoning=8&tokens=5", model=MODEL, stream=stream)
    assert talk.charged(answer) == PROMPT_NANOS + 13 * TOKEN_NANOS


@pytest.mark.parametrize("stream", [False, True])
def test_a08_reasoning_counts_in_an_estimate(stack: Stack, stream: bool) -> None:
    talk = talk_to(stack)
    script = "reasoning=8&tokens=5&usage=missing"
    answer = talk.chat(IDE, script, model=MODEL, stream=stream)
    request_id = answer.headers["x-request-id"]
    assert talk.usage(request_id, "source", "output_tokens") == ("estimated", 13)


def test_a08_a_tool_call_is_an_answer(stack: Stack) -> None:
    talk = talk_to(stack)
    message = talk.message(IDE, "reasoning=4&tool=1", model=MODEL)
    assert not message["content"]
    assert message["tool_calls"][0]["function"]["name"] == "get_weather"
    chunks = talk.chunks(IDE, "reasoning=4&tool=1", model=MODEL)
    assert deltas(chunks, "content") == []
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def _names(chunk: dict) -> set[str]:
    return {name for choice in chunk["choices"] for name in choice["delta"]}
