"""Plain chat answers: tokens that can be counted by hand, tools, schemas, malformed requests."""

import json

import pytest

CITY = {
    "type": "function",
    "function": {
        "name": "get_city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city", "unit"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}


def usage(answer):
    return answer.json["usage"]


def message(answer, index=0):
    return answer.json["choices"][index]["message"]


def test_a_plain_answer_has_openais_shape(sim):
    body = sim.chat("tokens=3", model="sim-1").json

    assert body.pop("id").startswith("chatcmpl-sim-")
    assert isinstance(body.pop("created"), int)
    assert body == {
        "object": "chat.completion",
        "model": "sim-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "sun fox map "},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
def test_every_path_works_with_and_without_v1(sim, path):
    body = {"model": "sim", "messages": [{"role": "user", "content": "x"}]}

    assert sim.post(path, body).status == 200


def test_sixteen_tokens_of_four_bytes_by_default(sim):
    answer = sim.chat()

    assert usage(answer)["completion_tokens"] == 16
    assert len(message(answer)["content"]) == 64


def test_the_same_request_has_the_same_answer(sim):
    first, second = sim.chat(n=2), sim.chat(n=2)

    assert first.json["choices"] == second.json["choices"]
    assert first.json["id"] != second.json["id"]
    assert message(first, 0) != message(first, 1)
    assert usage(first)["completion_tokens"] == 32


def test_the_model_is_named_as_it_was_sent(sim):
    assert sim.chat(model="glm:tokens=2").json["model"] == "glm:tokens=2"


@pytest.mark.parametrize(
    ("fields", "tokens", "finish"),
    [
        ({"max_tokens": 5}, 5, "length"),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5, "length"),
        ({"max_tokens": 16}, 16, "stop"),
        ({"max_tokens": None}, 16, "stop"),
    ],
)
def test_max_tokens_caps_the_answer(sim, fields, tokens, finish):
    answer = sim.chat(**fields)

    assert usage(answer)["completion_tokens"] == tokens
    assert answer.json["choices"][0]["finish_reason"] == finish


def test_prompt_tokens_are_the_texts_bytes_by_four(sim):
    parts = [
        {"type": "image_url", "image_url": {"url": "https://example.com/a-long-address.png"}},
        {"type": "text", "text": "ünï"},  # 5 bytes
    ]
    messages = [
        {"role": "system", "content": "four"},
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "12345678"},
    ]

    assert usage(sim.chat(messages=messages, tools=[CITY]))["prompt_tokens"] == 5  # 17 bytes
    assert usage(sim.chat("prompt_tokens=500", messages=messages))["prompt_tokens"] == 500


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("prompt_tokens_details", {"prompt_tokens_details": {"cached_tokens": 40}}),
        ("cached_tokens", {"cached_tokens": 40}),
        ("cache_read_input_tokens", {"cache_read_input_tokens": 40}),
        (
            "prompt_cache_hit_tokens",
            {"prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60},
        ),
    ],
)
def test_cached_tokens_stand_where_the_dialect_has_them(sim, place, expected):
    answer = sim.chat(f"prompt_tokens=100&cached=40&tokens=1&cached_place={place}")
    counts = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}

    assert usage(answer) == counts | expected


@pytest.mark.parametrize("dialect", ["reasoning_content", "reasoning"])
def test_reasoning_has_its_own_field_and_counts_as_completion(sim, dialect):
    answer = sim.chat(f"tokens=2&reasoning=2&dialect={dialect}")

    assert message(answer) == {
        "role": "assistant",
        "content": "sun fox ",
        dialect: "key lid ",
    }
    assert usage(answer)["completion_tokens"] == 4
    assert usage(answer)["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_reasoning_as_text_is_in_think_tags(sim):
    answer = sim.chat("tokens=2&reasoning=2&dialect=think")

    assert message(answer)["content"] == "<think>key lid </think>sun fox "
    assert usage(answer)["completion_tokens"] == 4


def test_an_answer_may_be_all_reasoning(sim):
    assert message(sim.chat("tokens=0&reasoning=1"))["content"] == ""
    all_thought = message(sim.chat("tokens=0&reasoning=1&dialect=think"))
    assert all_thought["content"] == "<think>key </think>"
    cut_off = sim.chat("reasoning=9&dialect=think", max_tokens=2)
    assert message(cut_off)["content"] == "<think>key lid "
    assert cut_off.json["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("thinking", "script", "reasoning"),
    [("enabled", "", 8), ("enabled", "reasoning=3", 3), ("disabled", "reasoning=3", 0)],
)
def test_thinking_switches_reasoning(sim, thinking, script, reasoning):
    answer = sim.chat(script, thinking={"type": thinking})
    details = usage(answer).get("completion_tokens_details", {"reasoning_tokens": 0})

    assert details["reasoning_tokens"] == reasoning
    assert usage(answer)["completion_tokens"] == 16 + reasoning


def test_an_empty_completion_costs_nothing(sim):
    answer = sim.chat("content=empty&reasoning=5")

    assert message(answer)["content"] == ""
    assert usage(answer)["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("finish", "expected"), [("content_filter", "content_filter"), ("none", None)]
)
def test_the_finish_reason_is_the_scripts(sim, finish, expected):
    assert sim.chat(f"finish={finish}").json["choices"][0]["finish_reason"] == expected


def test_a_tool_is_called_with_arguments_of_its_schema(sim):
    answer = sim.chat(tools=[CITY, TIME])
    (call,) = message(answer)["tool_calls"]

    assert message(answer)["content"] is None
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_city"
    assert json.loads(call["function"]["arguments"]) == {"city": "Tokyo", "unit": "c"}
    assert usage(answer)["completion_tokens"] == -(-len(call["function"]["arguments"]) // 4)
    assert answer.json["choices"][0]["finish_reason"] == "tool_calls"


def test_a_named_tool_is_the_one_called(sim):
    named = {"type": "function", "function": {"name": "get_time"}}
    (call,) = message(sim.chat(tools=[CITY, TIME], tool_choice=named))["tool_calls"]

    assert call["function"] == {"name": "get_time", "arguments": "{}"}


def test_no_tool_is_called_when_none_is_wanted(sim):
    result = {"role": "tool", "tool_call_id": "a", "content": "sunny"}
    question = {"role": "user", "content": "x"}

    assert "tool_calls" not in message(sim.chat(tools=[CITY], tool_choice="none"))
    assert "tool_calls" not in message(sim.chat(tools=[CITY], messages=[question, result]))
    assert "tool_calls" not in message(sim.chat("tool=0", tools=[CITY]))
    assert "tool_calls" in message(sim.chat("tool=1", tools=[CITY], messages=[question, result]))
    assert "tool_calls" in message(sim.chat("tool=1"))


def test_structured_output_satisfies_the_schema(sim):
    schema = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 2}
        },
        "required": ["items"],
        "$defs": {
            "item": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}}
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = sim.chat(response_format=wanted)

    assert json.loads(message(answer)["content"]) == {"items": [{"n": 5}, {"n": 5}]}
    assert usage(answer)["completion_tokens"] == -(-len(message(answer)["content"]) // 4)
    as_object = message(sim.chat(response_format={"type": "json_object"}))["content"]
    assert isinstance(json.loads(as_object), dict)


@pytest.mark.parametrize(
    "value", ["negative", "huge", "overflow", "float", "string", "null", "list", "missing"]
)
def test_usage_can_be_wrong_in_every_way(sim, value):
    body = sim.chat(f"tokens=2&usage={value}").json
    expected = {
        "negative": {"prompt_tokens": -4, "completion_tokens": -3, "total_tokens": -6},
        "huge": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 10**15),
        "overflow": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 10**30),
        "float": {"prompt_tokens": 3.5, "completion_tokens": 2.5, "total_tokens": 5.5},
        "string": {"prompt_tokens": "3", "completion_tokens": "2", "total_tokens": "5"},
        "null": None,
        "list": [3, 2],
        "missing": "absent",
    }

    assert body.get("usage", "absent") == expected[value]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{}]}, "tools"),
        ({"tools": [CITY], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [CITY], "tool_choice": {"function": {"name": "f"}}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"thinking": {"type": "deep"}}, "thinking"),
    ],
)
def test_a_malformed_request_is_refused(sim, fields, param):
    answer = sim.chat(**fields)

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nope", b'"x"', b"[" * 100_000, b"\xff\xfe{}"])
def test_a_body_that_is_no_json_object_is_refused(sim, body):
    answer = sim.post("/chat/completions", body)

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"


def test_unknown_paths_and_methods_are_refused(sim):
    assert sim.get("/v1/nothing").status == 404
    assert sim.get("/v1/chat/completions").status == 405


def test_models_and_health_are_there(sim):
    assert [model["object"] for model in sim.get("/v1/models").json["data"]] == ["model"] * 5
    assert sim.get("/models", "status=503").status == 503
    assert sim.get("/healthz").json == {"status": "ok", "open_calls": 0}


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 0),
        ({"reasoning_effort": "low"}, 8),
        ({"reasoning_effort": "none"}, 0),
        ({"reasoning": {"effort": "high"}}, 8),
        ({"reasoning": {"enabled": False}}, 0),
        ({"reasoning": True}, 8),
        ({"model": "glm-4.7"}, 8),
        ({"model": "glm-4.7", "thinking": {"type": "disabled"}}, 0),
        ({"model": "glm-4.7?tokens=16"}, 0),
    ],
)
def test_reasoning_is_on_when_it_is_asked_for_or_the_model_is_known_for_it(sim, fields, tokens):
    answer = sim.chat(**fields)

    details = usage(answer).get("completion_tokens_details", {"reasoning_tokens": 0})
    assert details["reasoning_tokens"] == tokens
    assert usage(answer)["completion_tokens"] == 16 + tokens


def test_several_tools_are_called_at_once(sim):
    calls = message(sim.chat("calls=3", tools=[CITY, TIME]))["tool_calls"]

    assert [call["function"]["name"] for call in calls] == ["get_city", "get_time", "get_city"]
    assert [call["id"] for call in calls] == ["call_sim0000", "call_sim0000_1", "call_sim0000_2"]
    one = message(sim.chat("calls=3", tools=[CITY], parallel_tool_calls=False))
    assert len(one["tool_calls"]) == 1


def test_a_call_is_cut_where_the_tokens_end(sim):
    # Each call's arguments are `{"city":"Tokyo","unit":"c"}`: seven tokens.
    answer = sim.chat("calls=2", tools=[CITY], max_tokens=9)
    first, second = message(answer)["tool_calls"]

    assert json.loads(first["function"]["arguments"])
    assert second["function"]["arguments"] == '{"city":'
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert len(message(sim.chat("calls=2", tools=[CITY], max_tokens=7))["tool_calls"]) == 1


def test_a_refusal_stands_apart_from_the_content(sim):
    assert message(sim.chat("content=refusal&tokens=2")) == {
        "role": "assistant",
        "content": None,
        "refusal": "sun fox ",
    }


@pytest.mark.parametrize(
    ("stop", "content"),
    [
        ("map", "sun fox "),
        (["zzz", "ea", "k t"], "sun fox map oa"),
        ("zzz", "sun fox map oak tea ink "),
        ("sun", ""),
    ],
)
def test_an_answer_ends_before_a_stop_sequence(sim, stop, content):
    answer = sim.chat("tokens=6", stop=stop)

    assert message(answer)["content"] == content
    assert answer.json["choices"][0]["finish_reason"] == "stop"
    assert usage(answer)["completion_tokens"] == -(-len(content) // 4)


def test_an_errors_code_may_be_scripted(sim):
    error = sim.chat("status=400&code=context_length_exceeded").error

    assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")


def test_written_cache_tokens_are_told_as_a_sum(sim):
    details = usage(sim.chat("cached=3&cache_write=4&cache_write_1h=5"))["prompt_tokens_details"]

    assert details == {"cached_tokens": 3, "cache_write_tokens": 9}
