"""7: legacy completions, with the machinery of chat: quote, stream, usage, capabilities."""

from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.acceptance.talk import MOUNTS, Talk, error, events, row_of, talk_to
from tests.stack import Stack

# Answira's model: input $0.475, output $2.00 per million.
MODEL = "zai-org/GLM-4.7-FP8"


def complete(talk: Talk, mount: str = "/v1", simulate: str = "", **fields: Any) -> httpx.Response:
    """Return the answer to a legacy completion."""
    script = {"simulate": simulate} if simulate else {}
    body = {"model": MODEL, "prompt": "Once upon a time", **script, **fields}
    return talk.post(f"{mount}/completions", body)


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_a07_a_prompt_is_completed_under_every_mount(stack: Stack, mount: str) -> None:
    talk = talk_to(stack)
    answer = complete(talk, mount, max_tokens=200, temperature=0.7)
    told = answer.json()
    assert (answer.status_code, told["object"], told["model"]) == (200, "text_completion", MODEL)
    assert len(told["choices"][0]["text"]) == 64
    # "Once upon a time" counts four tokens at four bytes each, the answer sixteen.
    tokens = {"prompt_tokens": 4, "completion_tokens": 16, "total_tokens": 20}
    assert told["usage"] == {**tokens, "cost": 0.0000339}
    assert talk.charged(answer) == 4 * 475 + 16 * 2_000
    assert answer.headers["x-request-cost"] == "0.000033900"
    sent = talk.sent(answer)
    assert (sent["path"], sent["params"]["max_tokens"]) == ("/v1/completions", 200)


def test_a07_the_coding_mount_completes_with_coding_models_alone(stack: Stack) -> None:
    talk = talk_to(stack)
    assert complete(talk, "/api/coding/paas/v4", model="glm-4.7").status_code == 200
    assert error(complete(talk, "/api/coding/paas/v4"))[:2] == (403, "endpoint_not_allowed")


def test_a07_the_rows_defaults_are_sent(stack: Stack) -> None:
    params = talk_to(stack).sent(complete(talk_to(stack)))["params"]
    assert (params["temperature"], params["top_p"]) == (0.7, 1.0)
    # Answira names no default for max_tokens: the model's own limit, or what is left of its
    # context beside the prompt.
    assert params["max_tokens"] == 131_072 - 4 - 1


def test_a07_several_prompts_times_n_are_answered_held_and_billed(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = complete(talk, simulate="tokens=5", prompt=["One.", "Two."], n=3, max_tokens=5)
    told = answer.json()
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2, 3, 4, 5]
    assert told["usage"]["completion_tokens"] == 30
    assert talk.charged(answer) == 2 * 475 + 30 * 2_000
    request_id = answer.headers["x-request-id"]
    held = stack.sql(
        "SELECT amount_nanos FROM billing_reservation WHERE id = %s::uuid", request_id
    )[0][0]
    assert held >= 30 * 2_000 + 2 * 475
    assert talk.usage(request_id, "endpoint", "source") == ("completions", "upstream")


def test_a07_prompts_of_token_ids_are_taken(stack: Stack) -> None:
    talk = talk_to(stack)
    one = complete(talk, prompt=[11, 12, 13]).json()
    assert one["usage"]["prompt_tokens"] == 3
    two = complete(talk, prompt=[[11, 12, 13], [14]]).json()
    assert (two["usage"]["prompt_tokens"], len(two["choices"])) == (4, 2)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"prompt": None}, "invalid_type", "prompt"),
        ({"prompt": 5}, "invalid_type", "prompt"),
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": ["a", 1]}, "invalid_type", "prompt[1]"),
        ({"prompt": [1, "a"]}, "invalid_type", "prompt[1]"),
        ({"prompt": [True]}, "invalid_type", "prompt[0]"),
        ({"prompt": [-1]}, "invalid_value", "prompt[0]"),
        ({"prompt": [[1], []]}, "invalid_value", "prompt[1]"),
        ({"prompt": [[1, "a"]]}, "invalid_type", "prompt[0][1]"),
        ({"prompt": ["a"] * 65, "n": 2}, "invalid_value", "prompt"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"temperature": 2.1}, "invalid_value", "temperature"),
        ({"top_p": -0.1}, "invalid_value", "top_p"),
        ({"stop": ["a"] * 5}, "invalid_value", "stop"),
        ({"n": 3, "best_of": 2}, "invalid_value", "best_of"),
        ({"best_of": 2, "stream": True}, "invalid_value", "best_of"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
    ],
)
def test_a07_a_mistake_is_named(
    stack: Stack, fields: dict[str, Any], code: str, param: str
) -> None:
    talk = talk_to(stack)
    answer = complete(talk, **fields)
    assert error(answer) == (400, code, param)
    assert talk.never_sent(answer)


def test_a07_a_missing_prompt_is_named(stack: Stack) -> None:
    answer = talk_to(stack).post("/v1/completions", {"model": MODEL})
    assert error(answer) == (400, "missing_required_parameter", "prompt")


def test_a07_a_stream_brings_texts_and_its_usage(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = complete(
        talk, simulate="tokens=20", stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = events(answer)
    text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert len(text) == 80
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == 20
    assert last["usage"]["cost"] == pytest.approx((4 * 475 + 20 * 2_000) / 1e9)
    assert talk.charged(answer) == 4 * 475 + 20 * 2_000


def test_a07_a_stream_without_usage_is_estimated_by_its_text(stack: Stack) -> None:
    talk = talk_to(stack)
    answer = complete(talk, simulate="tokens=20&usage=missing", stream=True)
    columns = talk.usage(answer.headers["x-request-id"], "source", "output_tokens", "input_tokens")
    assert columns == ("estimated", 20, 4)


def test_a07_a_row_may_refuse_the_endpoint_or_a_parameter(stack: Stack) -> None:
    talk = talk_to(stack)
    with row_of(stack, MODEL, refused_parameters=["prompt"]):
        assert error(complete(talk)) == (400, "unsupported_parameter", "prompt")
        assert talk.chat(model=MODEL).status_code == 200
    with row_of(stack, MODEL, refused_parameters=["echo", "suffix"]):
        assert error(complete(talk, echo=True)) == (400, "unsupported_parameter", "echo")
    answer = complete(talk, echo=True, suffix="The end.", logprobs=2)
    params = talk.sent(answer)["params"]
    assert (answer.status_code, params["echo"], params["logprobs"]) == (200, True, 2)


def test_a07_images_models_complete_nothing(stack: Stack) -> None:
    assert error(complete(talk_to(stack), model="glm-image")) == (400, "invalid_value", "model")


def test_a07_openais_sdk_completes(stack: Stack) -> None:
    client = OpenAI(base_url=f"{stack.base_url}/api/v1", api_key=talk_to(stack).key)
    made = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=7)
    assert (made.choices[0].finish_reason, made.usage.completion_tokens) == ("length", 7)
    stream = client.completions.create(model=MODEL, prompt=["a", "b"], max_tokens=7, stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert [len(text) for text in texts.values()] == [28, 28]
