"""OpenAI Responses: whole answers, the stream's events, usage, errors and what is refused."""

import json

import pytest

CITY = {
    "type": "function",
    "name": "get_city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
PATCH = {"type": "custom", "name": "apply_patch", "format": {"type": "text"}}
CRM = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers",
    "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}],
}
SEARCH = {"type": "web_search"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_city", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "12345678"}


def ask(sim, script="", **fields):
    return sim.post("/v1/responses", {"model": "sim", "input": "Hello, sim!"} | fields, script)


def events(answer):
    """The events, each checked to have its type as its name and the next number."""
    found = []
    for block in answer.body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def types(answer):
    """The events' types, without those that follow another of their kind."""
    names = [event["type"].removeprefix("response.") for event in events(answer)]
    return [name for place, name in enumerate(names) if not place or names[place - 1] != name]


def assembled(answer):
    """The output that a client builds from the deltas."""
    output = []
    for event in events(answer):
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(output)
            output.append("")
        elif kind.endswith(".delta"):
            assert event["output_index"] == len(output) - 1
            output[-1] += event["delta"]
    return output


def texts(item):
    """The text of an output item, wherever its kind has it."""
    for name in ("arguments", "input"):
        if name in item:
            return item[name]
    parts = [*item.get("summary", []), *item.get("content", [])]
    return "".join(part.get("text", part.get("refusal")) for part in parts)


def test_a_whole_response_has_openais_shape(sim):
    body = ask(sim, "tokens=3", instructions="Hi", max_output_tokens=50, store=False).json

    assert body.pop("id").startswith("resp_sim_")
    assert isinstance(body.pop("created_at"), int)
    (message,) = body.pop("output")
    assert message.pop("id").startswith("msg_sim_")
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "sun fox map "}
    assert message == {
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    assert body == {
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "sim",
        "instructions": "Hi",
        "max_output_tokens": 50,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 4,  # 13 bytes
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
    }


def test_a_stream_has_openais_events(sim):
    answer = ask(sim, "tokens=2", stream=True)

    assert types(answer) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    created, _, added, part, first, _, text, _, done, completed = events(answer)
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["output"] == []
    assert created["response"]["usage"] is None
    assert added["item"] | {"id": ""} == {
        "id": "",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    assert part["part"]["text"] == ""
    assert first == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        "output_index": 0,
        "item_id": added["item"]["id"],
        "content_index": 0,
        "logprobs": [],
        "delta": "sun ",
    }
    assert text["text"] == "sun fox "
    assert done["item"] == completed["response"]["output"][0]


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        ("tokens=40", {}),
        ("reasoning=5&tokens=4&chunk_tokens=3", {"reasoning": {"summary": "auto"}}),
        ("reasoning=5&dialect=reasoning", {}),
        ("calls=4", {"tools": [CITY, PATCH, CRM]}),
        ("content=refusal", {}),
        ("tokens=9", {"max_output_tokens": 4}),
    ],
)
def test_a_stream_builds_the_response_of_the_plain_answer(sim, script, fields):
    plain = ask(sim, script, **fields).json
    streamed = ask(sim, script, stream=True, **fields)
    last = events(streamed)[-1]["response"]

    for response in (plain, last):
        number = response.pop("id").removeprefix("resp_sim_")
        response.pop("created_at")
        for item in response["output"]:
            item["id"] = item["id"].replace(number, "N")
    assert last == plain
    assert assembled(streamed) == [texts(item) for item in plain["output"]]


def test_reasoning_is_a_summary_where_one_is_asked_for(sim):
    answer = ask(sim, "reasoning=2&tokens=1", stream=True, reasoning={"summary": "auto"})

    assert types(answer)[2:7] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    response = events(answer)[-1]["response"]
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "key lid "}]
    assert response["usage"]["output_tokens"] == 3
    assert response["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}


def test_reasoning_may_be_shown_as_it_is_or_hidden(sim):
    shown = ask(sim, "reasoning=2&tokens=1&dialect=reasoning", stream=True)
    hidden = ask(sim, "reasoning=2&tokens=1", stream=True)

    assert types(shown)[3:7] == [
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
    ]
    (item, _) = events(shown)[-1]["response"]["output"]
    assert item["content"] == [{"type": "reasoning_text", "text": "key lid "}]
    (item, _) = events(hidden)[-1]["response"]["output"]
    assert (item["summary"], "content" in item) == ([], False)
    assert sim.entry()["tokens_sent"] == 3


def test_reasoning_is_on_when_it_is_asked_for(sim):
    def reasoning_tokens(**fields):
        return ask(sim, **fields).json["usage"]["output_tokens_details"]["reasoning_tokens"]

    assert reasoning_tokens() == 0
    assert reasoning_tokens(reasoning={"effort": "low"}) == 8
    assert reasoning_tokens(model="glm-4.7") == 8
    assert reasoning_tokens(model="glm-4.7", reasoning={"effort": "none"}) == 0


def test_encrypted_reasoning_comes_back_as_it_was(sim):
    fields = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    output = ask(sim, **fields).json["output"]

    def continued(encrypted):
        item = output[0] | {"encrypted_content": encrypted}
        return ask(sim, input=[{"role": "user", "content": "x"}, item, *output[1:]])

    assert continued(output[0]["encrypted_content"]).status == 200
    assert continued("gAAAAA").error["code"] == "invalid_encrypted_content"
    assert "encrypted_content" not in ask(sim, reasoning={"effort": "low"}).json["output"][0]


def test_tools_of_every_kind_are_called(sim):
    function, custom, spaced = ask(sim, "calls=3", tools=[SEARCH, CITY, PATCH, CRM]).json["output"]

    assert (function["type"], function["name"]) == ("function_call", "get_city")
    assert json.loads(function["arguments"]) == {"city": "Tokyo"}
    assert (custom["type"], custom["name"], custom["input"]) == (
        "custom_tool_call",
        "apply_patch",
        "sample",
    )
    assert (spaced["name"], spaced["namespace"]) == ("find", "crm")
    assert len({item["call_id"] for item in (function, custom, spaced)}) == 3

    named = {"type": "custom", "name": "apply_patch"}
    (only,) = ask(sim, tools=[CITY, PATCH], tool_choice=named).json["output"]
    assert only["name"] == "apply_patch"
    serial = ask(sim, "calls=3", tools=[CITY], parallel_tool_calls=False)
    assert len(serial.json["output"]) == 1


def test_an_output_is_answered_in_words(sim):
    body = ask(sim, tools=[CITY], input=[{"role": "user", "content": "x"}, CALL, OUTPUT]).json

    assert body["output"][0]["type"] == "message"
    assert body["usage"]["input_tokens"] == 3  # 9 bytes


@pytest.mark.parametrize(
    ("script", "fields", "status", "details"),
    [
        ("", {"max_output_tokens": 2}, "incomplete", {"reason": "max_output_tokens"}),
        ("finish=content_filter", {}, "incomplete", {"reason": "content_filter"}),
        ("finish=failed&message=Boom", {}, "failed", {"code": "server_error", "message": "Boom"}),
        (
            "finish=rate_limit_exceeded&message=Boom",
            {},
            "failed",
            {"code": "rate_limit_exceeded", "message": "Boom"},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_may_be_incomplete_or_fail(sim, script, fields, status, details, stream):
    answer = ask(sim, script, stream=stream, **fields)
    response = events(answer)[-1]["response"] if stream else answer.json

    assert answer.status == 200
    assert response["status"] == status
    assert details in (response["incomplete_details"], response["error"])
    if stream:
        assert types(answer)[-1] == status


@pytest.mark.parametrize("script", ["finish=none", "done=0", "end_after=3", "cut_after=3"])
def test_a_stream_may_never_end_properly(sim, script):
    assert "completed" not in types(ask(sim, script, stream=True))


def test_a_stream_may_end_in_an_error(sim):
    last = events(ask(sim, "error_after=2&message=Boom&code=overloaded", stream=True))[-1]

    assert last == {
        "type": "error",
        "sequence_number": 6,
        "code": "overloaded",
        "message": "Boom",
        "param": None,
    }


def test_errors_are_in_openais_envelope(sim):
    answer = ask(sim, "status=429&code=insufficient_quota&message=No+luck")

    assert answer.status == 429
    assert answer.json == {
        "error": {
            "message": "No luck",
            "type": "insufficient_quota",
            "param": None,
            "code": "insufficient_quota",
        }
    }


def test_usage_may_stand_elsewhere_or_be_wrong(sim):
    def usages(word):
        streamed = events(ask(sim, f"tokens=5&usage={word}", stream=True))
        return [each["response"].get("usage", "none") for each in (streamed[0], streamed[-1])]

    assert [each and each["output_tokens"] for each in usages("early")] == [5, None]
    assert usages("missing") == ["none", "none"]
    assert usages("string")[1]["output_tokens"] == "5"
    usage = ask(sim, "prompt_tokens=100&cached=40&cache_write=5").json["usage"]
    assert usage["input_tokens"] == 100
    assert usage["input_tokens_details"] == {"cached_tokens": 40, "cache_write_tokens": 5}


@pytest.mark.parametrize("kind", ["invalid_json", "invalid_utf8"])
def test_broken_bodies_look_like_openais(sim, kind):
    assert b"response.output_text.delta" in ask(sim, f"body={kind}", stream=True).body
    assert ask(sim, f"body={kind}").body.startswith(b'{"id":"resp_sim_')


def user(*parts):
    return {"input": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": None}, "input"),
        ({"previous_response_id": "resp_1"}, "not found"),
        ({"input": [{"role": "tool", "content": "x"}]}, "Invalid value: 'tool'"),
        (user({"type": "text", "text": "x"}), "Supported values are: input_audio"),
        (user({"type": "output_text", "text": "x"}), "Invalid value: 'output_text'"),
        ({"input": [CALL]}, "No tool output found for function call call_1"),
        ({"input": [OUTPUT]}, "No tool call found"),
        ({"input": [CALL | {"arguments": {}}, OUTPUT]}, "arguments"),
        ({"input": [{"type": "reasoning", "id": "rs_1"}]}, "summary"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tool_choice": "any"}, "Invalid value: 'any'"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [CITY]}, "no tool is named"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format"),
    ],
)
def test_malformed_requests_are_refused(sim, fields, words):
    answer = ask(sim, **fields)

    assert answer.status == 400
    assert words in answer.error["message"]


def test_a_schema_is_satisfied(sim):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    wanted = {"format": {"type": "json_schema", "name": "answer", "schema": schema}}
    (message,) = ask(sim, text=wanted).json["output"]

    assert isinstance(json.loads(message["content"][0]["text"])["ok"], bool)
