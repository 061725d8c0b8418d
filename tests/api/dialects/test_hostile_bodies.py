"""Any JSON in place of any part of a request or an answer: a clear refusal, never a crash."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import errors
from api.dialects import DIALECTS, link
from api.dialects.base import AnswerContext, DialectError
from billing.pricing.charge import NO_CHARGE, Usage
from tests.api.dialects.clients import CLIENTS, PNG
from tests.api.dialects.limits import Limits
from tests.api.dialects.pairs import UPSTREAM_PATHS, exchange, model_entry

# Each is a test for every pair, and CI looks at more examples.
BOUNDED = settings(max_examples=min(settings().max_examples, 200))
SPOKEN = list(CLIENTS)
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1.5, 10**30, "", "x", [], {}, [1], [None], ["x"], [{}], {"type": "x"}]),
    st.sampled_from([{"type": "text"}, {"type": "input_text"}, [{"type": "image"}], [[]]]),
)
CALL = {"name": "look", "input": {"city": "Prague"}}
REQUESTS: dict[str, Any] = {
    "openai_chat": {
        "model": "m",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "b"}],
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "look", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Sun"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
        "stop": ["a"],
        "thinking": {"type": "enabled"},
        "reasoning": {"effort": "low"},
        "logit_bias": {"5": 1},
        "stream_options": {"include_usage": True},
        "stream": True,
    },
    "anthropic_messages": {
        "model": "m",
        "max_tokens": 500,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                    },
                    {"type": "document", "source": {"type": "text", "data": "a"}, "title": "b"},
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "a"}]},
                    },
                    {
                        "type": "search_result",
                        "title": "a",
                        "source": "b",
                        "content": [{"type": "text", "text": "c"}],
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "a", "signature": "b"},
                    {"type": "redacted_thinking", "data": "c"},
                    {"type": "tool_use", "id": "c1", **CALL},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "content": [{"type": "text", "text": "Sun"}],
                        "is_error": True,
                    }
                ],
            },
        ],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
        "output_format": {"type": "json_schema", "schema": {}},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["a"],
        "stream": True,
    },
    "openai_responses": {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"},
                ],
            },
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "a"}],
                "encrypted_content": "b",
            },
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "Sun"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "a"},
            {
                "type": "custom_tool_call_output",
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "b"}],
            },
        ],
        "tools": [
            {"type": "function", "name": "look", "parameters": {}, "strict": True},
            {"type": "namespace", "name": "box", "tools": [{"name": "open", "parameters": {}}]},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "definition": "a"}},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "look"}]},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "metadata": {"a": "b"},
        "stream": True,
    },
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all parts of a JSON value but the whole."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    found = [path] if path else []
    for key, each in inner:
        found += places(each, (*path, key))
    return found


def spoilt(value: Any, path: tuple[Any, ...], put: Any) -> Any:
    """Return the value with something else at a place; without it, where nothing is put."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    if put == "absent":
        del holder[path[-1]]
    else:
        holder[path[-1]] = put
    return copy


@pytest.mark.parametrize("dialect", SPOKEN)
@BOUNDED
@given(data=st.data())
def test_a_spoilt_request_is_refused_or_sent(dialect: str, data: st.DataObject) -> None:
    body = REQUESTS[dialect]
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.sampled_from(places(body)))
        body = spoilt(body, where, data.draw(st.one_of(st.just("absent"), junk)))
    client = DIALECTS[dialect]
    try:
        request = client.parse(body, len(json.dumps(body)))
    except errors.InvalidRequestError:
        return
    for upstream in UPSTREAM_PATHS:
        to = link(client, upstream)
        assert to is not None
        request.conversation = None
        with contextlib.suppress(errors.InvalidRequestError):
            json.loads(to.upstream_body(request, *model_entry(upstream), 8_000))


def _answers(upstream: str, *, stream: bool) -> bytes:
    """Return an answer with everything in it, as the simulator gives it."""
    client = CLIENTS[upstream]
    body = client.ask("Hello", tools=["look"], effort="low", stream=stream)
    script = "tokens=3&reasoning=2&calls=2&cached=1&chunk_tokens=9"
    return exchange(upstream, upstream, body, script).answer.body


@pytest.mark.parametrize("downstream", SPOKEN)
@pytest.mark.parametrize("upstream", list(UPSTREAM_PATHS))
@BOUNDED
@given(data=st.data())
def test_a_spoilt_answer_is_passed_or_an_error(
    upstream: str, downstream: str, data: st.DataObject
) -> None:
    answer = json.loads(_answers(upstream, stream=False))
    where = data.draw(st.sampled_from(places(answer)))
    answer = spoilt(answer, where, data.draw(st.one_of(st.just("absent"), junk)))
    dialect = link(DIALECTS[downstream], upstream)
    assert dialect is not None
    body = CLIENTS[downstream].ask("Hello", tools=["look"])
    context = AnswerContext(
        DIALECTS[downstream].parse(body, 100), "public-model", "reasoning_content", answer_id="a"
    )
    try:
        read = dialect.read_answer(json.dumps(answer).encode(), context)
        usage = read.meter(Limits()).usage
        json.loads(read.body(usage or Usage()))
    except DialectError:
        return


@pytest.mark.parametrize("downstream", SPOKEN)
@pytest.mark.parametrize("upstream", list(UPSTREAM_PATHS))
@BOUNDED
@given(data=st.data())
def test_a_spoilt_stream_is_passed_or_an_error(
    upstream: str, downstream: str, data: st.DataObject
) -> None:
    events = _answers(upstream, stream=True).split(b"\n\n")
    number = data.draw(st.integers(0, len(events) - 1))
    head, mark, text = events[number].rpartition(b"data: ")
    if mark and text.startswith(b"{"):
        event = json.loads(text)
        where = data.draw(st.sampled_from(places(event)))
        event = spoilt(event, where, data.draw(st.one_of(st.just("absent"), junk)))
        events[number] = head + mark + json.dumps(event).encode()
    dialect = link(DIALECTS[downstream], upstream)
    assert dialect is not None
    body = CLIENTS[downstream].ask("Hello", tools=["look"], stream=True)
    context = AnswerContext(
        DIALECTS[downstream].parse(body, 100), "public-model", "reasoning_content", answer_id="a"
    )
    reader = dialect.stream_reader(context)
    try:
        reader.feed(b"\n\n".join(events))
        if reader.error is not None:
            return
        reader.finish()
        usage = reader.meter(Limits()).usage
        assert reader.ending(usage or Usage(), NO_CHARGE, is_shown=True)
    except DialectError:
        return
