"""Anthropic Messages: errors, streams that break off, credentials, and what is refused."""

import json

import pytest

from tests.simulator.anthropic_client import CALL, RESULT, VERSION, ask, named_events


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_are_in_anthropics_envelope(sim, status, kind):
    answer = ask(sim, f"status={status}&message=No+luck&retry_after=7")

    assert answer.status == status
    assert answer.headers["retry-after"] == "7"
    assert answer.json == {
        "type": "error",
        "error": {"type": kind, "message": "No luck"},
        "request_id": answer.headers["request-id"],
    }


def test_a_stream_may_end_in_an_error(sim):
    events = named_events(ask(sim, "error_after=2", stream=True))

    assert [event["type"] for event in events[-3:]] == [
        "content_block_delta",
        "content_block_delta",
        "error",
    ]
    assert events[-1]["error"]["type"] == "api_error"
    overloaded = ask(sim, "error_after=2", stream=False).json
    assert overloaded["error"]["type"] == "api_error"


@pytest.mark.parametrize("script", ["cut_after=2", "end_after=2"])
def test_a_stream_may_break_off(sim, script):
    answer = ask(sim, script, stream=True)

    assert named_events(answer)[-1]["delta"] == {"type": "text_delta", "text": "fox "}
    assert answer.complete == (script == "end_after=2")
    assert sim.entry()["tokens_sent"] == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["invalid_json", "invalid_utf8"])
def test_broken_bodies_look_like_anthropics(sim, kind, stream):
    body = ask(sim, f"body={kind}", stream=stream).body

    assert body.startswith(b"event: content_block_delta\n" if stream else b'{"id":"msg_sim_')
    with pytest.raises(ValueError, match=r"Expecting|codec"):
        json.loads(body.partition(b"data: ")[2].split(b"\n")[0] if stream else body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "k"}, 200),
        ({"authorization": "Bearer k"}, 200),
        ({"authorization": "Basic k"}, 401),
        ({}, 401),
    ],
)
def test_either_credential_is_taken(sim, headers, status):
    assert ask(sim, "require_key=1", headers=VERSION | headers).status == status
    assert sim.entry()["authorized"] == (status == 200)


def test_chat_does_not_take_an_api_key_header(sim):
    body = {"model": "sim", "messages": [{"role": "user", "content": "x"}]}
    answer = sim.post("/chat/completions", body, "require_key=1", headers={"x-api-key": "k"})

    assert answer.status == 401


def history(*messages):
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[place % 2], "content": content} for place, content in enumerate(messages)
        ]
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (history(""), "must be non-empty"),
        (history([{"type": "tool_result"}]), "tool_use_id: Field required"),
        (history([RESULT]), "unexpected `tool_use_id`"),
        (history("x", [CALL]), "without `tool_result` blocks"),
        (history("x", [CALL], "y"), "without `tool_result` blocks"),
        (history("x", [RESULT]), "not for the role assistant"),
        (history([CALL]), "not for the role user"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "must be greater"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"tools": [{"name": "f"}]}, "input_schema"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
    ],
)
def test_malformed_requests_are_refused(sim, fields, words):
    answer = ask(sim, **fields)

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert words in answer.error["message"]


def test_the_version_is_needed(sim):
    answer = ask(sim, headers={})

    assert answer.status == 400
    assert answer.error["message"] == "anthropic-version: header is required"
