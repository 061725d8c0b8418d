"""13 and 14: messages, their number, their roles and their parts."""

from typing import Any

import pytest

from tests.acceptance.talk import HELLO, deltas, talk_to
from tests.stack import Stack

CALL = {
    "id": "call_123",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Shanghai"}'},
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Shanghai?"}
LOOP = [
    QUESTION,
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_123", "content": "Shanghai is 24C and clear."},
]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
TEXT = {"type": "text", "text": "Describe this image"}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,"}}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": None}, "invalid_type", "messages"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": "Hello!"}, "invalid_type", "messages"),
        ({"messages": [*HELLO, 5]}, "invalid_type", "messages[1]"),
        ({"messages": [{"content": "Hello!"}]}, "missing_required_parameter", "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "Hello!"}]}, "invalid_value", None),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
        (
            {"messages": [*HELLO, {"role": "assistant"}]},
            "missing_required_parameter",
            "messages[1].content",
        ),
        (
            {"messages": [{"role": "tool", "content": "clear"}]},
            "missing_required_parameter",
            "messages[0].tool_call_id",
        ),
        ({"model": 5}, "invalid_type", "model"),
        ({"model": ""}, "invalid_value", "model"),
    ],
)
def test_a13_a_mistake_in_model_or_messages_is_named(
    stack: Stack, fields: dict[str, Any], code: str, param: str | None
) -> None:
    talk = talk_to(stack)
    answer = talk.chat(**fields)
    told = answer.json()["error"]
    assert (answer.status_code, told["type"], told["code"]) == (400, "invalid_request_error", code)
    assert param is None or told["param"] == param
    assert talk.never_sent(answer)


@pytest.mark.parametrize("field", ["model", "messages"])
def test_a13_model_and_messages_are_required(stack: Stack, field: str) -> None:
    body = {"model": "glm-5.2", "messages": HELLO}
    del body[field]
    answer = talk_to(stack).post("/v1/chat/completions", body)
    told = answer.json()["error"]
    assert (answer.status_code, told["param"]) == (400, field)


@pytest.mark.parametrize("role", ["system", "user", "assistant", "developer"])
def test_a13_every_role_is_taken(stack: Stack, role: str) -> None:
    assert talk_to(stack).message(messages=[{"role": role, "content": "Hello!"}, *HELLO])


def test_a13_weryais_models_take_1_to_50_messages(stack: Stack) -> None:
    talk = talk_to(stack)
    assert talk.chat(model="GEMINI_25_FLASH", messages=HELLO * 50).status_code == 200
    answer = talk.chat(model="GEMINI_25_FLASH", messages=HELLO * 51)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
    assert "at most 50" in answer.json()["error"]["message"]
    assert talk.refusal(model="GEMINI_25_FLASH", messages=[])[0] == 400
    # The limit is that model's, not everybody's.
    assert talk.chat(messages=HELLO * 51).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a13_the_tool_loop_in_full(stack: Stack, stream: bool) -> None:
    talk = talk_to(stack)
    fields: dict[str, Any] = {"messages": [QUESTION], "tools": [TOOL]}
    if stream:
        chunks = talk.chunks("/api/v1", **fields)
        parts = [part for calls in deltas(chunks, "tool_calls") for part in calls]
        arguments = "".join(part["function"].get("arguments", "") for part in parts)
        call = {"id": parts[0]["id"], "type": "function"}
        call["function"] = {"name": parts[0]["function"]["name"], "arguments": arguments}
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    else:
        (call,) = talk.message("/api/v1", **fields)["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert "city" in call["function"]["arguments"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Shanghai is 24C and clear."}
    fields["messages"] = [QUESTION, {"role": "assistant", "tool_calls": [call]}, result]
    if stream:
        assert deltas(talk.chunks("/api/v1", **fields), "content")
    else:
        assert talk.message("/api/v1", **fields)["content"]


def test_a13_a_loops_history_goes_upstream_as_it_came(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = talk.chat("/api/v1", messages=LOOP)
    assert answer.json()["choices"][0]["message"]["content"]
    # 32 bytes of question and 26 of result: the simulator counts no calls.
    assert talk.sent(answer)["prompt_tokens"] == 15


def test_a14_images_and_texts_in_one_message(stack: Stack) -> None:
    talk = talk_to(stack)
    messages = [{"role": "user", "content": [IMAGE, TEXT]}]
    answer = talk.chat("/api/paas/v4", model="glm-4.6v", messages=messages)
    assert answer.status_code == 200
    # The text's 19 bytes are five tokens; $0.30 and, for sixteen of output, $0.90 per million.
    assert talk.charged(answer) == 5 * 300 + 16 * 900


def test_a14_files_on_weatmoods_models(stack: Stack) -> None:
    messages = [{"role": "user", "content": [FILE, TEXT]}]
    for model in ("glm-4.7", "glm-5.2", "qwen3.6-27b"):
        assert talk_to(stack).chat(model=model, messages=messages).status_code == 200


@pytest.mark.parametrize(
    ("model", "part", "place"),
    [("kimi-k2", IMAGE, 1), ("deepseek-r1", IMAGE, 1), ("kimi-k2", FILE, 1)],
)
def test_a14_a_model_of_text_refuses_other_parts(
    stack: Stack, model: str, part: dict[str, Any], place: int
) -> None:
    messages = [{"role": "user", "content": [TEXT, part]}]
    code = talk_to(stack).refusal(model=model, messages=messages)
    assert code == (400, "unsupported_parameter", f"messages[0].content[{place}]")


def test_a14_an_unknown_part_is_named(stack: Stack) -> None:
    messages = [{"role": "user", "content": [TEXT, {"type": "smell", "smell": "rose"}]}]
    status, code, param = talk_to(stack).refusal(model="glm-4.6v", messages=messages)
    assert (status, code) == (400, "invalid_value")
    assert param is not None
    assert param.startswith("messages[0].content[1]")


def test_a14_parameters_that_are_not_ours_go_upstream(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = talk.chat(novelty={"a": [1, None]}, user="u-1", logit_bias={"5": -1})
    params = talk.sent(answer)["params"]
    assert params["novelty"] == {"a": [1, None]}
    assert (params["user"], params["logit_bias"]) == ("u-1", {"5": -1})
