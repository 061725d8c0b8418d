"""Odd upstreams over HTTP: heads, broken messages, refusals, and whose fault each of them is."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
import structlog

from tests.api.gateway.upstream import (
    DONE,
    GOOD_STREAM,
    STREAM_HEAD,
    Script,
    Upstream,
    answer,
    chunk,
    completion,
    head,
    raw,
    stream,
)
from tests.api.gateway.world import World, body, in_loop

Json = dict[str, Any]

ALWAYS_CHARGED = {"charges_broken_streams": "always"}
EVENTS = b"".join(GOOD_STREAM)
COMPLETION = json.dumps(completion("Hello")).encode()
PAGE = b"<!doctype html><title>Checking your browser</title>"


def bare(*lines: str, body: bytes = b"") -> Script:
    """Answer with these lines for a head, and close the connection."""
    return raw("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)


def framed(content: bytes, **headers: str) -> Script:
    return answer(content, **headers)


@pytest.mark.parametrize(
    "script",
    [
        bare("HTTP/1.1 200 OK", "content-type: Text/Event-Stream; Charset=UTF-8", body=EVENTS),
        bare("HTTP/1.1 200 OK", "content-type: application/json", body=EVENTS),
        bare("HTTP/1.1 200 OK", "content-type: text/plain", body=EVENTS),
        bare("HTTP/1.1 200 OK", body=EVENTS),
        bare("HTTP/1.1 201 Created", "content-type: text/event-stream", body=EVENTS),
        bare("HTTP/1.1 200", "content-type: text/event-stream", body=EVENTS),
        bare("HTTP/1.1 200 OK", "content-type: text/event-stream", body=COMPLETION),
        answer(COMPLETION),
        answer(gzip.compress(COMPLETION), content_encoding="gzip"),
        bare(
            "HTTP/1.1 200 OK",
            "content-type: text/event-stream",
            "content-encoding: gzip",
            body=gzip.compress(EVENTS),
        ),
    ],
)
@in_loop
async def test_a_stream_is_one_whatever_its_head_says(script: Script) -> None:
    async with World(script) as world:
        reply = await world.chat(stream=True)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert (reply.text, reply.events[-1]) == ("Hello", "[DONE]")
    assert (world.gate.only.source, world.gate.only.output_tokens) == ("upstream", 1000)


def padded(count: int, size: int) -> list[str]:
    return [f"set-cookie: c{number}={'v' * size}" for number in range(count)]


@pytest.mark.parametrize(
    "script",
    [
        answer(COMPLETION, 201),
        answer(gzip.compress(COMPLETION), content_encoding="GZIP"),
        answer(zlib.compress(COMPLETION), content_encoding="deflate"),
        answer(COMPLETION, content_encoding="identity"),
        bare("HTTP/1.1 200 OK", body=COMPLETION),
        bare("HTTP/1.1 200 OK", f"x-policy: {'p' * 12_000}", body=COMPLETION),
        bare("HTTP/1.1 200 OK", *padded(200, 200), body=COMPLETION),
    ],
)
@in_loop
async def test_an_answer_is_one_whatever_its_head_says(script: Script) -> None:
    async with World(script) as world:
        reply = await world.chat()
    assert (reply.status, reply.json["choices"][0]["message"]["content"]) == (200, "Hello")


@in_loop
async def test_what_unpacks_to_more_than_an_answer_may_have_is_refused() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    async with World(answer(bomb, content_encoding="gzip")) as world:
        assert (await world.chat()).status == 502
        assert (await world.chat(stream=True)).status == 502
    assert "has more than" in world.gate.settlements[0].error


LENGTH = f"content-length: {len(COMPLETION)}"
ROUTE_FAULTS: list[tuple[str, Script]] = [
    ("two lengths", bare("HTTP/1.1 200 OK", LENGTH, LENGTH, body=COMPLETION)),
    ("no HTTP", raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")),
    ("endless header", bare("HTTP/1.1 200 OK", f"x-policy: {'p' * 200_000}", body=COMPLETION)),
    ("unknown packing", answer(COMPLETION, content_encoding="br")),
    ("broken packing", answer(COMPLETION, content_encoding="gzip")),
    ("a page", answer(PAGE)),
    ("no choices", answer({**completion(), "choices": []})),
    ("an error", answer({"object": "error", "message": "no memory at gpu-host-3"})),
    ("model unknown", answer({"error": {"message": "The model `upstream-model` is gone"}}, 404)),
    ("path unknown", answer(b"404 page not found", 404)),
    ("model retired", answer({"error": {"message": "upstream-model was retired"}}, 410)),
    ("model unknown, 400", answer({"error": {"message": "Model upstream-model not found"}}, 400)),
    ("model unknown, code", answer({"error": {"message": "?", "code": "model_not_found"}}, 400)),
    ("key refused", answer({"error": {"message": "API key not valid. Pass a valid one."}}, 400)),
    ("key refused, code", answer([{"error": {"code": 400, "status": "API_KEY_INVALID"}}], 400)),
    ("balance", answer({"error": {"message": "Insufficient balance"}}, 402)),
    (
        "quota",
        answer({"error": {"message": "You exceeded it", "code": "insufficient_quota"}}, 429),
    ),
    (
        "quota, by type",
        answer({"error": {"message": "You exceeded it", "type": "insufficient_quota"}}, 429),
    ),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("script", [each[1] for each in ROUTE_FAULTS], ids=lambda script: "")
@in_loop
async def test_a_routes_fault_tries_the_next_and_is_for_staff_to_read(
    script: Script, streamed: bool
) -> None:
    good = stream(*GOOD_STREAM) if streamed else answer(COMPLETION)
    with structlog.testing.capture_logs() as logs:
        async with World(upstreams=[Upstream(script), Upstream(good)]) as world:
            reply = await world.chat(stream=streamed)
    assert reply.status == 200
    text = reply.text if streamed else reply.json["choices"][0]["message"]["content"]
    assert text == "Hello"
    assert [attempt["upstream"] for attempt in world.gate.only.attempts][-1] == "upstream-1"
    told = [log for log in logs if log["log_level"] == "error"]
    if world.gate.only.attempts[0]["error"].startswith("the upstream reports"):
        assert told == []
    else:
        assert told[0]["event"] == "route_failed"
        assert (told[0]["upstream"], bool(told[0]["reason"])) == ("upstream-0", True)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("script", [each[1] for each in ROUTE_FAULTS], ids=lambda script: "")
@in_loop
async def test_a_routes_fault_is_never_shown_to_the_client(script: Script, streamed: bool) -> None:
    async with World(script) as world:
        reply = await world.chat(stream=streamed)
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    for word in (b"upstream-model", b"upstream-0", b"key", b"quota", b"gpu-host", b"balance"):
        assert word not in reply.body.lower()
    assert (world.gate.only.source, world.gate.only.outcome) == ("none", "upstream_error")


@in_loop
async def test_broken_framing_ends_a_stream_at_once() -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        event = chunk("Hello")
        writer.write(head(content_type="text/event-stream", transfer_encoding="chunked"))
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"zz\r\nnot a chunk\r\n")
        await asyncio.sleep(5)

    async with World(script) as world:
        reply = await asyncio.wait_for(world.chat(stream=True), 2)
    assert (reply.text, reply.events[-1]["error"]["code"]) == ("Hello", "upstream_error")
    assert "broke off" in world.gate.only.error


@pytest.mark.parametrize(
    ("status", "refusal", "message", "param"),
    [
        (400, [{"error": {"code": 400, "message": "Bad top_k"}}], "Bad top_k", None),
        (400, {"error": "top_p is too high"}, "top_p is too high", None),
        (400, {"message": "top_p is too high"}, "top_p is too high", None),
        (400, {"msg": "top_p is too high", "code": 1210}, "top_p is too high", None),
        (
            400,
            {"detail": [{"loc": ["body", "temperature"], "msg": "is above 1", "type": "v"}]},
            "temperature: is above 1",
            "temperature",
        ),
        (422, {"detail": "no tools here"}, "no tools here", None),
        (422, {"detail": {"msg": "no tools here"}}, "no tools here", None),
    ],
)
@in_loop
async def test_what_the_upstream_says_about_the_request_stays(
    status: int, refusal: Any, message: str, param: str | None
) -> None:
    async with World(answer(json.dumps(refusal).encode(), status)) as world:
        reply = await world.chat()
    error = reply.json["error"]
    assert (reply.status, error["message"], error["param"]) == (400, message, param)
    assert len(world.upstream.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "It is too long.", "code": "context_length_exceeded", "param": "messages"},
        {"message": "This model's maximum context length is 4096 tokens.", "param": "messages"},
        {"message": "prompt is too long: 9 tokens > 8 maximum", "param": "messages"},
    ],
)
@in_loop
async def test_a_prompt_that_is_too_long_keeps_its_code(error: Json) -> None:
    async with World(answer({"error": error}, 400)) as world:
        told = (await world.chat()).json["error"]
    assert (told["code"], told["param"]) == ("context_length_exceeded", "messages")
    assert told["message"] == error["message"]


@in_loop
async def test_milliseconds_to_wait_are_rounded_up() -> None:
    async with World(answer(b"{}", 429, retry_after_ms="2500")) as world:
        reply = await world.chat()
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")


REFUSES_LIMIT = answer(
    {
        "error": {
            "message": "Unsupported parameter: use 'max_completion_tokens' instead.",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        }
    },
    400,
)
REFUSES_OPTIONS = answer(
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "no"}]}, 422
)


@in_loop
async def test_an_upstream_teaches_us_its_name_of_the_limit() -> None:
    with structlog.testing.capture_logs() as logs:
        async with World(REFUSES_LIMIT, answer(COMPLETION)) as world:
            assert (await world.chat(max_tokens=50)).status == 200
            assert (await world.chat(max_tokens=60)).status == 200
    limits = [(call.get("max_tokens"), call.get("max_completion_tokens"))
              for call in world.upstream.calls]  # fmt: skip
    assert limits == [(50, None), (None, 50), (None, 60)]
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["route_needs_switch"]


@in_loop
async def test_an_upstream_teaches_us_to_leave_stream_options_out() -> None:
    async with World(REFUSES_OPTIONS, stream(*GOOD_STREAM)) as world:
        assert (await world.chat(stream=True)).text == "Hello"
        assert (await world.chat(stream=True)).text == "Hello"
    assert ["stream_options" in call for call in world.upstream.calls] == [True, False, False]


@in_loop
async def test_what_an_upstream_refuses_again_is_told() -> None:
    async with World(REFUSES_LIMIT) as world:
        reply = await world.chat()
        assert (reply.status, reply.json["error"]["param"]) == (400, "max_tokens")
        assert len(world.upstream.calls) == 2
        await world.chat()
    assert len(world.upstream.calls) == 3


@in_loop
async def test_a_route_says_what_its_upstream_takes() -> None:
    route = {
        "max_tokens_field": "max_completion_tokens",
        "takes_stream_options": False,
        "takes_temperature": False,
        "takes_developer_role": False,
    }
    developer = {"role": "developer", "content": "Be brief."}
    user = {"role": "user", "content": "Hi"}
    async with World(stream(*GOOD_STREAM), route=route, default_temperature=0.5) as world:
        reply = await world.chat(
            stream=True, max_tokens=50, temperature=1, top_p=0.5, messages=[developer, user]
        )
    (call,) = world.upstream.calls
    assert reply.text == "Hello"
    assert call == {
        "model": "upstream-model",
        "messages": [{**developer, "role": "system"}, user],
        "stream": True,
        "max_completion_tokens": 50,
    }


@pytest.mark.parametrize(
    "end",
    [
        chunk(error={"message": "overloaded"}),
        b"data: {broken\n\n",
        b"",
    ],
)
@in_loop
async def test_a_charge_is_never_denied(end: bytes) -> None:
    async with World(stream(chunk("x" * 400), end), route=ALWAYS_CHARGED) as world:
        reply = await world.chat(stream=True)
    message = reply.events[-1]["error"]["message"]
    assert "charged $0.0002535 for what was delivered" in message
    assert "not charged" not in message
    assert world.gate.only.output_nanos > 0


@in_loop
async def test_a_timeout_after_some_text_does_not_deny_the_charge_either() -> None:
    script, timeouts = stream(chunk("x" * 400), 5.0), {"idle_timeout_seconds": 0.2}
    async with World(script, upstream=timeouts, route=ALWAYS_CHARGED) as w:
        reply = await w.chat(stream=True)
    assert reply.events[-1]["error"]["code"] == "upstream_timeout"
    assert "charged $0.0002535 for what was delivered" in reply.events[-1]["error"]["message"]


@in_loop
async def test_an_error_event_before_any_text_tries_the_next_route() -> None:
    failing = Upstream(stream(b'data: {"object":"error","message":"busy"}\n\n', DONE))
    async with World(upstreams=[failing, Upstream(stream(*GOOD_STREAM))]) as world:
        reply = await world.chat(stream=True)
    assert reply.text == "Hello"
    assert [attempt["status"] for attempt in world.gate.only.attempts] == [0, 200]


@in_loop
async def test_a_large_event_passes_up_to_the_answers_bound() -> None:
    picture = {"image_url": {"url": "data:image/png;base64," + "A" * 6_000_000}}
    delta = [{"index": 0, "delta": {"images": [picture]}, "finish_reason": None}]
    script = raw(STREAM_HEAD, chunk(choices=delta), *GOOD_STREAM)
    async with World(script, limits={"max_answer_bytes": 8_000_000}) as world:
        reply = await world.chat(stream=True)
    assert reply.events[0]["choices"][0]["delta"]["images"] == [picture]
    assert reply.text == "Hello"


@pytest.mark.parametrize("path", ["//v1/chat/completions", "/v1//chat/completions/"])
@in_loop
async def test_a_slash_too_many_is_none(path: str) -> None:
    async with World(answer(COMPLETION)) as world:
        reply = await world.post(
            {"model": "public-model", "messages": [{"role": "user", "content": "Hi"}]}, path
        )
    assert reply.status == 200


@in_loop
async def test_figures_beyond_the_models_row_are_kept_and_told_to_staff() -> None:
    usage = {"prompt_tokens": 500, "completion_tokens": 10**9, "total_tokens": 10**9 + 500}
    async with World(answer(completion(usage=usage))) as world:
        with structlog.testing.capture_logs() as logs:
            await world.chat()
        settled = world.gate.only
    assert [each["upstream"] for each in logs if each["event"] == "usage_rejected"] == [
        "upstream-0"
    ]
    assert settled.source == "estimated"
    assert settled.attempts[-1]["rejected_usage"] == [
        "completion_tokens=1000000000",
        "total_tokens=1000000500",
    ]


@pytest.mark.parametrize(("beyond", "charged"), [(0, "upstream"), (1, "estimated")])
@in_loop
async def test_a_prompt_above_what_was_sent_is_charged_at_its_bound(
    beyond: int, charged: str
) -> None:
    content = body()
    # A token for each byte, what templates add, and what upstreams add by themselves.
    most = len(json.dumps(content)) + 16 + 64 + 1_024
    reported = most + beyond
    usage = {"prompt_tokens": reported, "completion_tokens": 9, "total_tokens": reported + 9}
    async with World(answer(completion(usage=usage))) as world:
        reply = await world.post(content)
        settled = world.gate.only
    assert (settled.input_tokens, settled.output_tokens) == (most, 9)
    assert settled.source == charged
    assert reply.json["usage"]["prompt_tokens"] == most
    kept = [f"prompt_tokens={reported}", f"total_tokens={reported + 9}"] if beyond else None
    assert settled.attempts[-1].get("rejected_usage") == kept
