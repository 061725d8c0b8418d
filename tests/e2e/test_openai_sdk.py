"""The `openai` package against the service: only base URL and key differ from OpenAI's own."""

import time

import openai as sdk
import pytest
from openai import OpenAI

from tests.stack import Stack
from tests.support.waiting import eventually

HELLO = [{"role": "user", "content": "Hello!"}]
WEATHER = {
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


def test_models_are_listed_and_found(openai: OpenAI) -> None:
    names = [model.id for model in openai.models.list()]
    assert "glm-5.2" in names
    assert openai.models.retrieve("glm-5.2").id == "glm-5.2"
    assert openai.models.retrieve("zai-org/GLM-4.7-FP8").id == "zai-org/GLM-4.7-FP8"


def test_500_input_and_1000_output_tokens_cost_the_price_to_the_nano_dollar(
    stack: Stack, openai: OpenAI, customer: tuple[str, str]
) -> None:
    before = stack.balance(customer[0])
    answer = openai.chat.completions.with_raw_response.create(
        model="glm-5.2",
        messages=[{"role": "user", "content": "word" * 500}],
        max_tokens=1000,
        extra_body={"simulate": "tokens=1000"},
    )
    completion = answer.parse()
    assert completion.usage.prompt_tokens == 500
    assert completion.usage.completion_tokens == 1000
    assert answer.headers["x-request-cost"] == "0.002850000"
    after = stack.balance(customer[0])
    assert before["posted_nanos"] - after["posted_nanos"] == 2_850_000
    assert after["held_nanos"] == 0


def test_a_stream_ends_with_its_settled_cost(
    stack: Stack, openai: OpenAI, customer: tuple[str, str]
) -> None:
    chunks = list(
        openai.chat.completions.create(
            model="glm-5.2",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"simulate": "tokens=20"},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(text) == 80  # the simulator's tokens have four letters
    assert {c.choices[0].finish_reason for c in chunks if c.choices} == {None, "stop"}
    usage = chunks[-1].usage
    assert usage.completion_tokens == 20
    # Two input tokens at $0.70 and twenty output tokens at $2.50 per million.
    assert usage.cost == pytest.approx(0.0000514)
    # No wait: the last byte left after the settlement was durable.
    assert stack.balance(customer[0])["posted_nanos"] == 10_000_000_000 - 51_400


def test_usage_is_kept_from_a_client_that_did_not_ask(openai: OpenAI) -> None:
    chunks = openai.chat.completions.create(model="glm-5.2", messages=HELLO, stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_answered(openai: OpenAI, stream: bool) -> None:
    messages = [{"role": "user", "content": "What is the weather in Shanghai?"}]
    if stream:
        calls: dict[int, dict[str, str]] = {}
        for chunk in openai.chat.completions.create(
            model="glm-5.2", messages=messages, tools=[WEATHER], stream=True
        ):
            for part in chunk.choices[0].delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += part.id or ""
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
        call = calls[0]
    else:
        completion = openai.chat.completions.create(
            model="glm-5.2", messages=messages, tools=[WEATHER]
        )
        assert completion.choices[0].finish_reason == "tool_calls"
        made = completion.choices[0].message.tool_calls[0]
        call = {
            "id": made.id,
            "name": made.function.name,
            "arguments": made.function.arguments,
        }
    assert call["name"] == "get_weather"
    assert "city" in call["arguments"]
    function = {"name": call["name"], "arguments": call["arguments"]}
    messages += [
        {
            "role": "assistant",
            "tool_calls": [{"id": call["id"], "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call["id"], "content": "Shanghai is 24C and clear."},
    ]
    answer = openai.chat.completions.create(model="glm-5.2", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content


def test_a_wrong_key_is_an_authentication_error(stack: Stack) -> None:
    client = OpenAI(base_url=f"{stack.base_url}/v1", api_key="sk-tg-" + "x" * 38)
    with pytest.raises(sdk.AuthenticationError) as error:
        client.chat.completions.create(model="glm-5.2", messages=HELLO)
    assert error.value.code == "invalid_api_key"


def test_an_unknown_model_is_a_not_found_error(openai: OpenAI) -> None:
    with pytest.raises(sdk.NotFoundError) as error:
        openai.chat.completions.create(model="gpt-0", messages=HELLO)
    assert error.value.code == "model_not_found"


def test_the_request_above_the_limit_is_a_rate_limit_error(stack: Stack) -> None:
    key = stack.customer("limited@example.com", requests_per_minute="3")
    client = OpenAI(base_url=f"{stack.base_url}/v1", api_key=key, max_retries=0)
    for remaining in (2, 1, 0):
        answer = client.chat.completions.with_raw_response.create(model="glm-5.2", messages=HELLO)
        assert answer.headers["x-ratelimit-limit"] == "3"
        assert answer.headers["x-ratelimit-remaining"] == str(remaining)
        assert 0 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    with pytest.raises(sdk.RateLimitError) as error:
        client.chat.completions.create(model="glm-5.2", messages=HELLO)
    assert 1 <= int(error.value.response.headers["retry-after"]) <= 60


def test_no_credits_is_402(stack: Stack) -> None:
    key = stack.customer("poor@example.com", "0.000001")
    client = OpenAI(base_url=f"{stack.base_url}/v1", api_key=key, max_retries=0)
    with pytest.raises(sdk.APIStatusError) as error:
        client.chat.completions.create(model="glm-5.2", messages=HELLO, max_tokens=100)
    assert error.value.status_code == 402
    assert error.value.code == "insufficient_quota"
    assert stack.balance("poor@example.com")["held_nanos"] == 0


def test_a_wrong_type_is_a_bad_request_that_names_its_place(openai: OpenAI) -> None:
    with pytest.raises(sdk.BadRequestError) as error:
        openai.chat.completions.create(
            model="glm-5.2", messages=[*HELLO, {"role": "user", "content": 5}]
        )
    assert error.value.param == "messages[1].content"


def test_closing_a_stream_stops_the_upstream_and_bills_what_was_delivered(
    stack: Stack, openai: OpenAI, customer: tuple[str, str]
) -> None:
    answer = openai.chat.completions.create(
        model="glm-5.2",
        messages=HELLO,
        stream=True,
        extra_body={"simulate": "tokens=1000&pace_ms=20"},
    )
    for count, _chunk in enumerate(answer):
        request_id = answer.response.headers["x-request-id"]
        if count == 20:
            break
    answer.close()
    closed_at = time.time()

    call = eventually(lambda: stack.journal(request_id=request_id))[0]
    eventually(lambda: stack.journal(request_id=request_id)[0]["closed_at"])
    call = stack.journal(request_id=request_id)[0]
    assert call["closed_at"] - closed_at < 2  # of the twenty seconds to its end
    record = eventually(
        lambda: stack.sql(
            "SELECT output_tokens, charged_nanos, source, outcome FROM billing_usagerecord"
            " WHERE request_id = %s::uuid",
            request_id,
        )
    )[0]
    output_tokens, charged_nanos, source, outcome = record
    assert (source, outcome) == ("estimated", "client_closed")
    assert 18 <= output_tokens <= call["tokens_sent"] + 1
    # "Hello!" counts two tokens at four bytes each, and the message's frame four.
    assert charged_nanos == 6 * 700 + output_tokens * 2_500
    assert stack.balance(customer[0])["posted_nanos"] == 10_000_000_000 - charged_nanos
