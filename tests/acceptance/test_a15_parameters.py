"""15 to 19: limits, sampling, choices, streams' options and tools."""

from typing import Any

import pytest

from tests.acceptance.talk import HELLO, Talk, events, row_of, talk_to
from tests.acceptance.test_a13_messages import TOOL
from tests.stack import Stack

# One model of each document.
WEATMOOD, WERYAI, ANSWIRA = "glm-5.2", "GPT_4O", "zai-org/GLM-4.7-FP8"
ZAI, GLM5 = "glm-4.7-flash", "kimi-k2"
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def params(talk: Talk, model: str, **fields: Any) -> dict[str, Any]:
    """Return the parameters that the upstream got for a chat."""
    answer = talk.chat(model=model, **fields)
    assert answer.status_code == 200, answer.text
    sent: dict[str, Any] = talk.sent(answer)["params"]
    return sent


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (WEATMOOD, 16_384),
        (WERYAI, 1_024),
        (GLM5, 8_192),
        # No default: the context (Answira's is as large as the output's limit) less the prompt of
        # three tokens in a frame of four, or Z.AI's limit of 128K.
        (ANSWIRA, 131_072 - 7),
        (ZAI, 128_000),
    ],
)
def test_a15_max_tokens_has_the_models_default(stack: Stack, model: str, expected: int) -> None:
    assert params(talk_to(stack), model)["max_tokens"] == expected


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a15_max_tokens_is_capped_by_the_model(stack: Stack, name: str) -> None:
    talk = talk_to(stack)
    sent = params(talk, GLM5, **{name: 1_000_000})
    assert sent["max_tokens"] == 8_192
    assert "max_completion_tokens" not in sent
    assert params(talk, GLM5, **{name: 7})["max_tokens"] == 7


@pytest.mark.parametrize("value", [0, -1, 1.5, "10", True])
def test_a15_max_tokens_is_a_whole_number_from_1(stack: Stack, value: Any) -> None:
    status, _, param = talk_to(stack).refusal(max_tokens=value)
    assert (status, param) == (400, "max_tokens")


def test_a15_answers_end_at_max_tokens(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = talk.chat(simulate="tokens=50", max_tokens=10)
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    assert talk.charged(answer) == 2 * 700 + 10 * 2_500


@pytest.mark.parametrize(
    ("model", "temperature", "top_p"),
    [
        (WEATMOOD, 0.7, None),
        (WERYAI, 1, 1),
        (ANSWIRA, 0.7, 1),
        (ZAI, None, None),
        (GLM5, None, None),
    ],
)
def test_a16_sampling_has_the_models_defaults(
    stack: Stack, model: str, temperature: float | None, top_p: float | None
) -> None:
    sent = params(talk_to(stack), model)
    assert (sent.get("temperature"), sent.get("top_p")) == (temperature, top_p)
    sent = params(talk_to(stack), model, temperature=0, top_p=0.5)
    assert (sent["temperature"], sent["top_p"]) == (0, 0.5)


@pytest.mark.parametrize(
    ("field", "values", "wrong"),
    [
        ("temperature", [0, 2, 0.35, 1], [-0.1, 2.1, "1", True, []]),
        ("top_p", [0, 1, 0.5], [-0.1, 1.1, "1"]),
        ("top_k", [1, 40], [-2, 1.5, "4"]),
        ("seed", [0, -5, 2**62], [1.5, "5", 2**70]),
        ("n", [1, 3], [0, -1, 129, 1.5, "2"]),
        ("stop", ["a", ["a"], ["a", "b", "c", "d"]], [5, ["a"] * 5, [5]]),
        ("presence_penalty", [-2, 2, 0.5], [-2.1, 2.1, "1"]),
        ("frequency_penalty", [-2, 2, 0.5], [-2.1, 2.1, "1"]),
        ("repetition_penalty", [1.1, 0.9], [0, -1, "1"]),
        ("stream", [False], ["true", 1]),
        ("logprobs", [True], ["yes"]),
        ("parallel_tool_calls", [False], ["no"]),
    ],
)
def test_a17_ranges_and_types(
    stack: Stack, field: str, values: list[Any], wrong: list[Any]
) -> None:
    talk = talk_to(stack)
    for value in values:
        assert params(talk, WEATMOOD, **{field: value})[field] == value
    for value in wrong:
        status, code, param = talk.refusal(**{field: value})
        assert (status, str(param).split("[")[0]) == (400, field), value
        assert code in {"invalid_value", "invalid_type"}, value


def test_a17_null_is_as_good_as_absent(stack: Stack) -> None:
    fields = dict.fromkeys(
        ("temperature", "top_p", "max_tokens", "n", "stop", "seed", "tools", "thinking", "plugins")
    )
    sent = params(talk_to(stack), WEATMOOD, **fields)
    assert (sent["temperature"], sent["max_tokens"]) == (0.7, 16_384)


def test_a17_n_answers_are_held_and_billed(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = talk.chat(simulate="tokens=10", n=3, max_tokens=10)
    told = answer.json()
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2]
    assert talk.charged(answer) == 2 * 700 + 30 * 2_500
    held = stack.sql(
        "SELECT amount_nanos FROM billing_reservation WHERE id = %s::uuid",
        answer.headers["x-request-id"],
    )[0][0]
    # The bound: 30 tokens of output, and no more tokens of input than the body has bytes.
    assert 30 * 2_500 + 2 * 700 <= held <= 30 * 2_500 + (len(answer.request.content) + 80) * 700


def test_a17_a_small_balance_lowers_each_of_n_answers(stack: Stack) -> None:
    key = stack.customer("small@example.com", "0.001")
    talk = Talk(stack, key)
    one, four = params(talk, WEATMOOD)["max_tokens"], params(talk, WEATMOOD, n=4)["max_tokens"]
    # A thousandth of a dollar buys 400 tokens of output, less the prompt's share.
    assert 300 < one < 400
    assert 60 < four <= one // 4
    # What is named is not lowered.
    assert talk.refusal(n=4, max_tokens=200)[0] == 402


def test_a18_a_stream_is_asked_for(stack: Stack) -> None:
    talk = talk_to(stack)
    assert talk.chat().headers["content-type"] == "application/json"
    assert talk.chat(stream=True).headers["content-type"].startswith("text/event-stream")


def test_a18_usage_is_in_the_final_chunk_if_asked_for(stack: Stack) -> None:
    talk = talk_to(stack)
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = events(talk.chat(simulate="tokens=10", **asked))
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 2
    assert last["usage"]["completion_tokens"] == 10
    assert last["usage"]["total_tokens"] == 12
    assert not any(chunk.get("usage") for chunk in chunks)
    for options in (None, {}, {"include_usage": False}):
        assert not any(c.get("usage") for c in talk.chunks(stream_options=options))


def test_a18_options_without_a_stream_are_refused(stack: Stack) -> None:
    code = talk_to(stack).refusal(stream_options={"include_usage": True})
    assert code == (400, "invalid_value", "stream_options")


@pytest.mark.parametrize("choice", ["auto", "none", "required", NAMED])
def test_a19_tool_choices(stack: Stack, choice: Any) -> None:
    talk = talk_to(stack)
    message = talk.message(tools=[TOOL], tool_choice=choice)
    assert bool(message.get("tool_calls")) == (choice != "none")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [TOOL], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": 5}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": NAMED}, "tool_choice.function.name"),
        ({"tools": [{"type": "web"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"tools": {}}, "tools"),
    ],
)
def test_a19_a_mistake_in_tools_is_named(stack: Stack, fields: dict[str, Any], param: str) -> None:
    status, _, named = talk_to(stack).refusal(**fields)
    assert (status, named) == (400, param)


@pytest.mark.parametrize("fields", [{"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "auto"}])
def test_a19_deepseek_r1_has_no_tools(stack: Stack, fields: dict[str, Any]) -> None:
    talk = talk_to(stack)
    answer = talk.chat("/api/v1", model="deepseek-r1", messages=HELLO, **fields)
    told = answer.json()["error"]
    assert answer.status_code == 400
    assert (told["type"], told["code"]) == ("invalid_request_error", "unsupported_parameter")
    assert told["param"] == "tools"
    assert talk.never_sent(answer)
    for model in ("glm-5.2", "glm-5", "kimi-k2"):
        assert talk.message("/api/v1", model=model, **fields)["tool_calls"]


def test_a19_what_a_row_refuses_holds_from_the_next_request_on(stack: Stack) -> None:
    talk = talk_to(stack)
    with row_of(stack, "glm-5", refused_parameters=["seed"]):
        assert talk.refusal(model="glm-5", seed=1) == (400, "unsupported_parameter", "seed")
    assert talk.chat(model="glm-5", seed=1).status_code == 200
