"""Requests that are refused before anything is reserved."""

import json
import time
from typing import Any

import pytest
from django.conf import settings

from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, body, in_loop

GOOD = answer(completion())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"[]", "object"),
        (b'{"a": NaN}', ""),
        (b'{"a": Infinity}', ""),
        (b'{"a": 1e999}', "range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "range"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b'{"m": [{"a": 1, "\\u0061": "\\u003a"}]}', "'a' occurs twice"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'{"a": "\\ud800"}', "pair"),
        (b'{"a": "\\udc00\\ud800"}', "pair"),
        (b'{"a": "\xff"}', "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), ""),
        (b'\xef\xbb\xbf{"a": 1}', ""),
        (b'{"a": ' * 100_000, "deep"),
        (b'{"a": [' * 5_000 + b"]}" * 5_000, "deep"),
        (b'{"a": 1} x', "trailing"),
        (b"{'a': 1}", ""),
        (b'{"a": [' + b"[]," * 1_100_000 + b"[]]}", "million"),
        (b'{"a": "' + b"x" * 19_000_000, "early"),
    ],
)
@in_loop
async def test_what_is_no_json_is_refused_at_once(content: bytes, message: str) -> None:
    async with World(GOOD) as world:
        began = time.process_time()
        reply = await world.post(content)
        assert time.process_time() - began < 1
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_json")
    assert message in reply.json["error"]["message"]
    assert reply.headers["x-ratelimit-limit"] == "60"
    assert world.gate.admissions == []


@in_loop
async def test_escapes_that_look_like_trouble_are_none() -> None:
    content = json.dumps(body("PLACE")).encode()
    text = b"a \\\\u0000 b \\u003a c: \\\\u003a"
    async with World(GOOD) as world:
        reply = await world.post(content.replace(b"PLACE", text))
    assert reply.status == 200
    assert world.upstream.calls[0]["messages"][0]["content"] == "a \\u0000 b : c: \\u003a"


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"model": 5}, "model", "invalid_type"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "x"}, "messages", "invalid_type"),
        ({"messages": [5]}, "messages[0]", "invalid_type"),
        ({"messages": [{"role": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": user(None)}, "messages[0].content", "invalid_type"),
        (
            {"messages": [*user("a"), *user("b"), *user(7)]},
            "messages[2].content",
            "invalid_type",
        ),
        ({"messages": user([{"type": "x"}])}, "messages[0].content[0].type", "invalid_value"),
        (
            {"messages": user([{"type": "image_url"}])},
            "messages[0].content[0].image_url",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "assistant"}]},
            "messages[0].content",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id",
            "missing_required_parameter",
        ),
        ({"max_tokens": True}, "max_tokens", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_tokens": "5"}, "max_tokens", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"stop": [1]}, "stop[0]", "invalid_type"),
        ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name",
            "invalid_value",
        ),
        ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "gone"}}},
            "tool_choice.function.name",
            "invalid_value",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
    ],
)
@in_loop
async def test_a_mistake_is_named_with_its_place(
    fields: dict[str, Any], param: str, code: str
) -> None:
    async with World(GOOD) as world:
        reply = await world.post(body(**fields))
    error = reply.json["error"]
    assert (reply.status, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert world.gate.admissions == []


@pytest.mark.parametrize(
    ("entry", "fields", "param"),
    [
        (
            {"refused_parameters": ("tools",)},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "tools",
        ),
        (
            {"refused_parameters": ("plugins.web+response_format.json_schema",)},
            {
                "plugins": [{"id": "web"}],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}},
                },
            },
            "plugins.web",
        ),
        (
            {},
            {"messages": user([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])},
            "messages[0].content[0]",
        ),
    ],
)
@in_loop
async def test_what_the_model_does_not_do_is_refused(
    entry: dict[str, Any], fields: dict[str, Any], param: str
) -> None:
    async with World(GOOD, **entry) as world:
        reply = await world.post(body(**fields))
    assert (reply.status, reply.json["error"]["code"]) == (400, "unsupported_parameter")
    assert reply.json["error"]["param"] == param


@in_loop
async def test_more_messages_than_the_model_takes_are_refused() -> None:
    async with World(GOOD, max_messages=2) as world:
        reply = await world.post(body(messages=user("a") * 3))
    assert (reply.status, reply.json["error"]["param"]) == (400, "messages")


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic x", "Bearer sk-tg-wrong", "Bearer ' OR '1'='1"]
)
@in_loop
async def test_a_malformed_key_is_refused_without_the_ledger(authorization: str) -> None:
    async with World(GOOD) as world:
        reply = await world.post(b"nonsense", headers={"authorization": authorization})
    assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert world.gate.identified == 0


@pytest.mark.parametrize("content", [b"nonsense", b"{}", json.dumps(body(model="gone")).encode()])
@in_loop
async def test_an_unknown_key_with_a_bad_body_is_told_of_the_key(content: bytes) -> None:
    async with World(GOOD) as world:
        world.gate.key_code = "invalid_api_key"
        reply = await world.post(content)
    assert reply.status == 401


@pytest.mark.parametrize(
    ("path", "kind", "has_param"),
    [
        ("/v1", "invalid_request_error", True),
        ("", "authentication_error", False),
        ("/ide/v1", "authentication_error", False),
        ("/api/v1", "invalid_request_error", True),
    ],
)
@in_loop
async def test_a_401_speaks_the_surfaces_dialect(path: str, kind: str, has_param: bool) -> None:
    async with World(GOOD) as world:
        reply = await world.post(b"", f"{path}/chat/completions", headers={"authorization": ""})
    assert reply.json["error"]["type"] == kind
    assert ("param" in reply.json["error"]) == has_param


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("invalid_api_key", 401, "invalid_api_key"),
        ("wrong_scope", 403, "endpoint_not_allowed"),
        ("team_suspended", 403, "team_suspended"),
        ("model_not_allowed", 403, "model_not_allowed"),
        ("rate_limited_requests", 429, "rate_limit_exceeded"),
        ("rate_limited_tokens", 429, "rate_limit_exceeded"),
        ("rate_limited_free", 429, "rate_limit_exceeded"),
        ("too_many_calls", 429, "concurrent_requests_exceeded"),
        ("budget_exceeded", 402, "budget_exceeded"),
        ("insufficient_quota", 402, "insufficient_quota"),
    ],
)
@in_loop
async def test_each_verdict_has_its_error(code: str, status: int, told: str) -> None:
    async with World(GOOD) as world:
        world.gate.code = code
        reply = await world.chat()
    assert (reply.status, reply.json["error"]["code"]) == (status, told)
    assert world.upstream.calls == []
    assert world.gate.settlements == []
    if status == 429:
        assert reply.headers["retry-after"] == "7"


@in_loop
async def test_who_lacks_credits_is_told_where_to_buy_them() -> None:
    async with World(GOOD) as world:
        world.gate.code = "insufficient_quota"
        reply = await world.chat()
    told = f"Buy credits at {settings.BASE_URL}/billing, or lower max_tokens."
    assert reply.json["error"]["message"].endswith(told)


@in_loop
async def test_without_the_ledger_nothing_is_relayed() -> None:
    async with World(GOOD) as world:
        world.gate.is_away = True
        reply = await world.chat()
        assert (reply.status, reply.json["error"]["code"]) == (503, "service_unavailable")
        assert int(reply.headers["retry-after"]) >= 1
        bad = await world.post(b"{}")
        assert bad.status == 400
        assert "x-ratelimit-limit" not in bad.headers
    assert world.upstream.calls == []


@in_loop
async def test_an_unknown_model_is_looked_for_in_a_newer_catalogue() -> None:
    async with World(GOOD) as world:
        reply = await world.chat(model="new-model")
        assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
        assert world.reads == 0
        world.gate.catalogue_version = 2
        world._model["aliases"] = ("new-model",)
        assert (await world.chat(model="new-model")).status == 200
        assert world.reads == 1


@in_loop
async def test_a_stale_catalogue_is_read_anew_and_the_request_planned_again() -> None:
    async with World(GOOD) as world:
        world.gate.catalogue_version = 2
        assert (await world.chat()).status == 200
    assert [admission.catalogue_version for admission in world.gate.admissions] == [1, 2]


@pytest.mark.parametrize(
    ("entry", "code"), [({"prices": ()}, "model_unpriced"), ({"routes": ()}, "model_offline")]
)
@in_loop
async def test_a_model_that_can_not_be_sold_is_503(entry: dict[str, Any], code: str) -> None:
    async with World(GOOD, **entry) as world:
        reply = await world.chat()
    assert (reply.status, reply.json["error"]["code"]) == (503, code)


@in_loop
async def test_the_coding_surface_serves_coding_models_only() -> None:
    async with World(GOOD, is_coding=False) as world:
        reply = await world.post(body(), "/api/coding/paas/v4/chat/completions")
        assert (reply.status, reply.json["error"]["code"]) == (403, "endpoint_not_allowed")
        assert (await world.post(body(), "/api/paas/v4/chat/completions")).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-length": "30000000"}, 413),
        ({"content-type": ""}, 200),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
)
@in_loop
async def test_a_body_is_judged_by_its_headers(headers: dict[str, str], status: int) -> None:
    async with World(GOOD) as world:
        assert (await world.post(body(), headers=headers)).status == status


@in_loop
async def test_a_body_that_grows_beyond_the_limit_is_413() -> None:
    async with World(GOOD, limits={"max_body_bytes": 1000}) as world:
        reply = await world.post(b"x" * 1001, headers={"content-length": ""})
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")
