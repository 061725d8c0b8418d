"""Anthropic Messages: whole answers, the stream's events, usage, thinking and tools."""

import json

import pytest

from tests.simulator.anthropic_client import CALL, CITY, RESULT, TIME, ask, assembled, named_events


def test_a_whole_message_has_anthropics_shape(sim):
    answer = ask(sim, "tokens=3")
    body = answer.json

    assert body.pop("id").startswith("msg_sim_")
    assert answer.headers["request-id"].startswith("req_sim_")
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "sim",
        "content": [{"type": "text", "text": "sun fox map "}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 3,
            "service_tier": "standard",
        },
    }


def test_a_stream_has_anthropics_events(sim):
    start, opened, first, second, stopped, delta, end = named_events(
        ask(sim, "tokens=2", stream=True)
    )

    assert start["message"]["content"] == []
    assert start["message"]["stop_reason"] is None
    assert start["message"]["usage"]["input_tokens"] == 3
    assert start["message"]["usage"]["output_tokens"] == 1
    assert opened == {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    assert first["delta"] == {"type": "text_delta", "text": "sun "}
    assert second["delta"] == {"type": "text_delta", "text": "fox "}
    assert stopped == {"type": "content_block_stop", "index": 0}
    assert delta == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 2,
        },
    }
    assert end == {"type": "message_stop"}


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        ("tokens=40", {}),
        ("reasoning=5&tokens=4&chunk_tokens=3", {}),
        ("reasoning=3", {"thinking": {"type": "adaptive", "display": "omitted"}}),
        ("calls=3&reasoning=1", {"tools": [CITY, TIME]}),
        ("content=refusal", {}),
        ("tokens=9", {"max_tokens": 4}),
        ("tokens=9", {"stop_sequences": ["zzz", "x map"]}),
        ("cached=10&cache_write=5&cache_write_1h=7&prompt_tokens=100", {}),
        ("dialect=think&reasoning=4", {}),
    ],
)
def test_a_stream_builds_the_message_of_the_plain_answer(sim, script, fields):
    plain = ask(sim, script, **fields).json
    streamed = assembled(ask(sim, script, stream=True, **fields))

    assert plain.pop("id") != streamed.pop("id")
    assert streamed == plain


def test_input_tokens_leave_out_what_the_cache_read_or_took(sim):
    script = "cached=10&cache_write=5&cache_write_1h=7&prompt_tokens=100&reasoning=2&tokens=3"
    usage = ask(sim, script).json["usage"]

    assert usage == {
        "input_tokens": 78,
        "cache_creation_input_tokens": 12,
        "cache_read_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 7},
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
        "service_tier": "standard",
    }


def usages(sim, script):
    events = named_events(ask(sim, script, stream=True))
    start = next(event["message"] for event in events if event["type"] == "message_start")
    deltas = [event for event in events if event["type"] == "message_delta"]
    return [each.get("usage") for each in (start, *deltas)]


def test_usage_may_stand_elsewhere_or_be_wrong(sim):
    late, last = usages(sim, "tokens=5&usage=last_chunk")
    assert (late["input_tokens"], late["output_tokens"]) == (0, 0)
    assert (last["input_tokens"], last["output_tokens"]) == (3, 5)

    early, rest = usages(sim, "tokens=5&usage=early")
    assert (early["input_tokens"], early["output_tokens"]) == (3, 5)
    assert rest == {"output_tokens": 5}

    assert usages(sim, "usage=missing") == [None, None]
    assert len(usages(sim, "usage=twice")) == 3
    assert usages(sim, "tokens=5&usage=string")[1]["output_tokens"] == "5"


@pytest.mark.parametrize(
    ("script", "fields", "reason", "sequence"),
    [
        ("", {}, "end_turn", None),
        ("", {"max_tokens": 2}, "max_tokens", None),
        ("", {"tools": [CITY]}, "tool_use", None),
        ("", {"stop_sequences": ["map"]}, "stop_sequence", "map"),
        ("content=refusal", {}, "refusal", None),
        ("finish=content_filter", {}, "refusal", None),
        ("finish=pause_turn", {}, "pause_turn", None),
    ],
)
def test_stop_reasons(sim, script, fields, reason, sequence):
    body = ask(sim, script, **fields).json

    assert (body["stop_reason"], body["stop_sequence"]) == (reason, sequence)


def test_thinking_is_signed_and_comes_back_as_it_was(sim):
    answer = ask(sim, "reasoning=2&tokens=1", thinking={"type": "enabled", "budget_tokens": 1024},
                 max_tokens=2000)  # fmt: skip
    thinking, text = answer.json["content"]
    assert thinking["thinking"] == "key lid "
    assert text["text"] == "sun "

    def continued(block):
        history = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [block, text]},
            {"role": "user", "content": "y"},
        ]
        return ask(sim, messages=history)

    assert continued(thinking).status == 200
    assert continued(thinking | {"thinking": ""}).status == 200  # as `display: omitted` gives it
    changed = continued(thinking | {"thinking": "key lid"})
    assert changed.status == 400
    assert "Invalid `signature`" in changed.error["message"]


def test_thinking_is_on_when_it_is_asked_for(sim):
    def thinking_tokens(**fields):
        details = ask(sim, **fields).json["usage"].get("output_tokens_details")
        return details and details["thinking_tokens"]

    assert thinking_tokens() is None
    assert thinking_tokens(thinking={"type": "adaptive"}) == 8
    assert thinking_tokens(model="glm-4.7") == 8
    assert thinking_tokens(model="glm-4.7", thinking={"type": "disabled"}) is None
    assert thinking_tokens(model="glm-4.7?tokens=5") is None


def test_several_tools_are_called_at_once(sim):
    body = ask(sim, "calls=2", tools=[CITY, TIME]).json

    assert [(block["name"], block["input"]) for block in body["content"]] == [
        ("get_city", {"city": "Tokyo"}),
        ("get_time", {"zone": "Tokyo"}),
    ]
    assert len({block["id"] for block in body["content"]}) == 2
    alone = {"type": "auto", "disable_parallel_tool_use": True}
    assert len(ask(sim, "calls=2", tools=[CITY], tool_choice=alone).json["content"]) == 1
    named = {"type": "tool", "name": "get_time"}
    (only,) = ask(sim, tools=[CITY, TIME], tool_choice=named).json["content"]
    assert only["name"] == "get_time"


def test_a_result_is_answered_in_words(sim):
    history = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [RESULT]},
    ]
    body = ask(sim, tools=[CITY], messages=history).json

    assert body["content"][0]["type"] == "text"
    assert body["usage"]["input_tokens"] == 3  # 9 bytes


def test_pings_keep_a_waiting_stream_alive(sim):
    events = named_events(ask(sim, "pings=1&first_ms=450&tokens=1", stream=True))

    assert [event["type"] for event in events[:4]] == ["message_start", "ping", "ping", "ping"]
    assert events[4]["type"] == "content_block_start"


def test_event_lines_may_be_missing(sim):
    body = ask(sim, "names=0", stream=True).body

    assert b"event:" not in body
    assert body.startswith(b'data: {"type":"message_start"')


def test_tokens_are_counted_without_an_answer(sim):
    answer = ask(sim, path="/v1/messages/count_tokens?beta=true", max_tokens=None, system="four")

    assert answer.json == {"input_tokens": 4}  # 15 bytes
    assert sim.entry()["tokens_sent"] == 0


def test_a_schema_is_satisfied(sim):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    (block,) = ask(sim, output_config=wanted).json["content"]

    assert isinstance(json.loads(block["text"])["ok"], bool)
