"""What of a client's request goes upstream, and which earlier answers are accepted as history."""

from typing import Any

import pytest

from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import KEY, World, body, in_loop

Json = dict[str, Any]

GOOD = answer(completion())
COMPLETIONS = "/v1/completions"

BILLED = [
    ("service_tier", "priority"),
    ("service_tier", "flex"),
    ("best_of", 8),
    ("best_of", True),
    ("num_return_sequences", 4),
    ("use_beam_search", True),
    ("models", ["dear-model"]),
    ("route", "cheapest"),
    ("provider", {"order": ["dear"]}),
    ("web_search_options", {}),
    ("web_search_options", {"search_context_size": "high"}),
    ("search_parameters", {"mode": "on"}),
    ("enable_search", True),
    ("web_search", True),
    ("modalities", ["text", "audio"]),
    ("plugins", [{"id": "web"}]),
    ("plugins", [{"id": "file-parser"}]),
]


@pytest.mark.parametrize(("name", "value"), BILLED)
@in_loop
async def test_what_can_change_the_bill_is_refused_by_name(name: str, value: object) -> None:
    # Not even a route that passes unknown fields passes what is known to cost.
    async with World(GOOD, route={"passes_unknown_fields": True}) as world:
        reply = await world.chat(**{name: value})
    error = reply.json["error"]
    assert (reply.status, error["code"], error["param"]) == (400, "unsupported_parameter", name)
    assert f"'{name}'" in error["message"]
    assert (world.upstream.calls, world.gate.admissions) == ([], [])


@pytest.mark.parametrize(("name", "value"), BILLED)
@in_loop
async def test_what_the_models_row_allows_goes_upstream(name: str, value: object) -> None:
    async with World(GOOD, allowed_parameters=("plugins.other", name)) as world:
        reply = await world.chat(**{name: value})
    assert reply.status == 200
    assert world.upstream.calls[0][name] == value


@in_loop
async def test_a_row_may_allow_one_plugin_of_all() -> None:
    async with World(GOOD, allowed_parameters=("plugins.web",)) as world:
        assert (await world.chat(plugins=[{"id": "web"}])).status == 200
        reply = await world.chat(plugins=[{"id": "web"}, {"id": "other"}])
    assert (reply.status, reply.json["error"]["param"]) == (400, "plugins")
    assert [call["plugins"] for call in world.upstream.calls] == [[{"id": "web"}]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_tier", "auto"),
        ("service_tier", "default"),
        ("service_tier", None),
        ("best_of", 1),
        ("num_return_sequences", 1),
        ("use_beam_search", False),
        ("models", []),
        ("models", None),
        ("route", "fallback"),
        ("provider", {}),
        ("modalities", ["text"]),
        ("plugins", []),
        ("web_search_options", None),
        ("store", True),
        ("store", False),
        ("store", None),
        ("prediction", {"type": "content", "content": "x"}),
        ("audio", {"voice": "any", "format": "wav"}),
        ("novelty", {"a": [1, None]}),
        ("поле", 1),
        ("extra_body", {"service_tier": "priority"}),
    ],
)
@in_loop
async def test_what_changes_nothing_or_is_unknown_is_left_out(name: str, value: object) -> None:
    async with World(GOOD) as world:
        reply = await world.chat(**{name: value})
    assert reply.status == 200
    assert name not in world.upstream.calls[0]


@in_loop
async def test_a_route_may_pass_unknown_fields() -> None:
    async with World(GOOD, route={"passes_unknown_fields": True}) as world:
        reply = await world.chat(novelty={"a": [1, None]}, service_tier="auto", store=True)
    assert reply.status == 200
    (call,) = world.upstream.calls
    assert call["novelty"] == {"a": [1, None]}
    assert {"service_tier", "store"}.isdisjoint(call)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reasoning_effort", "low"),
        ("reasoning", {"effort": "low"}),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("min_p", 0.05),
        ("functions", [{"name": "f", "parameters": {}}]),
        ("verbosity", "low"),
        ("thinking", {"type": "disabled"}),
        ("metadata", {"a": "b"}),
        ("top_k", 5),
    ],
)
@in_loop
async def test_what_only_changes_the_output_passes(name: str, value: object) -> None:
    async with World(GOOD) as world:
        reply = await world.chat(**{name: value})
    assert reply.status == 200
    assert world.upstream.calls[0][name] == value


@in_loop
async def test_legacy_completions_hold_for_best_of_and_refuse_the_rest() -> None:
    script = answer(completion(object="text_completion", choices=[{"index": 0, "text": "Hello"}]))
    asked = {"model": "public-model", "prompt": "Hi", "max_tokens": 10}
    async with World(script) as world:
        assert (await world.post({**asked, "best_of": 5}, COMPLETIONS)).status == 200
        reply = await world.post({**asked, "service_tier": "priority"}, COMPLETIONS)
        odd = await world.post({**asked, "plugins": [5]}, COMPLETIONS)
    assert world.upstream.calls[0]["best_of"] == 5
    assert (reply.status, reply.json["error"]["param"]) == (400, "service_tier")
    assert odd.status == 200
    assert all("plugins" not in call for call in world.upstream.calls)


CALL = {"id": "c1", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("earlier", "sent"),
    [
        ({"content": None, "reasoning_content": "hm"}, {"content": "", "reasoning_content": "hm"}),
        ({"content": None, "reasoning": "hm"}, {"content": "", "reasoning": "hm"}),
        (
            {"content": None, "reasoning": None, "refusal": "I won't."},
            {"content": "I won't.", "reasoning": None, "refusal": "I won't."},
        ),
        ({"content": None}, {"content": ""}),
        ({"content": ""}, {"content": ""}),
        ({"content": None, "tool_calls": []}, {"content": ""}),
        ({"content": "Yes", "tool_calls": []}, {"content": "Yes"}),
        ({"content": None, "audio": {"id": "a1"}}, {"content": None, "audio": {"id": "a1"}}),
        ({"audio": {"id": "a1"}}, {"audio": {"id": "a1"}}),
        (
            {"content": None, "tool_calls": [{**CALL, "type": ""}]},
            {"content": None, "tool_calls": [{**CALL, "type": "function"}]},
        ),
        (
            {"content": None, "tool_calls": [{**CALL, "type": "function"}]},
            {"content": None, "tool_calls": [{**CALL, "type": "function"}]},
        ),
        (
            {"tool_calls": [{"id": "c1", "type": None, "custom": {"name": "sql", "input": "x"}}]},
            {"tool_calls": [
                {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "x"}}]},
        ),
        (
            {"content": [{"type": "text", "text": "Yes"}, {"type": "refusal", "refusal": "No"}]},
            {"content": [{"type": "text", "text": "Yes"}, {"type": "refusal", "refusal": "No"}]},
        ),
    ],
)  # fmt: skip
@in_loop
async def test_an_answer_of_ours_is_accepted_as_history(earlier: Json, sent: Json) -> None:
    user = {"role": "user", "content": "Hi"}
    async with World(GOOD) as world:
        reply = await world.post(body(messages=[user, {"role": "assistant", **earlier}, user]))
    assert (reply.status, reply.body if reply.status != 200 else b"") == (200, b"")
    assert world.upstream.calls[0]["messages"] == [user, {"role": "assistant", **sent}, user]


@pytest.mark.parametrize(
    ("earlier", "param"),
    [
        ({}, "messages[0].content"),
        ({"tool_calls": []}, "messages[0].content"),
        ({"reasoning": ""}, "messages[0].content"),
        ({"tool_calls": [{"id": "c1"}]}, "messages[0].tool_calls[0].function"),
    ],
)
@in_loop
async def test_an_earlier_answer_that_says_nothing_is_named(earlier: Json, param: str) -> None:
    async with World(GOOD) as world:
        reply = await world.post(body(messages=[{"role": "assistant", **earlier}]))
    error = reply.json["error"]
    assert (reply.status, error["code"]) == (400, "missing_required_parameter")
    assert error["param"] == param


TOOLS = [{"type": "function", "function": {"name": "look"}}]
SUBSET = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "auto",
        "tools": [{"type": "function", "function": {"name": "look"}}],
    },
}


@in_loop
async def test_some_of_the_tools_may_be_allowed() -> None:
    async with World(GOOD) as world:
        reply = await world.chat(tools=TOOLS, tool_choice=SUBSET)
        without = await world.chat(tool_choice=SUBSET)
        wrong = await world.chat(tools=TOOLS, tool_choice={"type": "every"})
    assert reply.status == 200
    assert world.upstream.calls[0]["tool_choice"] == SUBSET
    assert (without.status, without.json["error"]["param"]) == (400, "tool_choice")
    assert "'allowed_tools'" in wrong.json["error"]["message"]


@pytest.mark.parametrize(
    ("user", "stored"),
    [
        (KEY, f"{KEY[:6]}…{KEY[-4:]}"),
        ("sk-proj-" + "a1B2" * 10, "sk-proj-…"),
        ("sk-ant-api03-" + "a1B2-c_" * 6, "sk-ant-api03-…"),
        ("Bearer abc", "Bearer …"),
        ("customer-42", "customer-42"),
    ],
    ids=["ours", "openai", "anthropic", "bearer", "none"],
)
@in_loop
async def test_a_user_that_looks_like_a_key_is_masked_before_it_is_stored(
    user: str, stored: str
) -> None:
    async with World(GOOD) as world:
        assert (await world.chat(user=user)).status == 200
    assert world.gate.only.end_user == stored


@pytest.mark.parametrize(
    ("headers", "fields", "recorded"),
    [
        ({"x-session-id": "run 7"}, {"prompt_cache_key": "other"}, "run 7"),
        ({"x-claude-code-session-id": "0199-a"}, {}, "0199-a"),
        ({"session-id": "codex"}, {}, "codex"),
        ({"session_id": "codex of old"}, {}, "codex of old"),
        ({}, {"prompt_cache_key": "k" * 128}, "k" * 128),
        ({}, {"prompt_cache_key": "k" * 129}, ""),
        ({}, {"prompt_cache_key": "line\nbreak"}, ""),
        ({}, {"prompt_cache_key": "\u00e9"}, ""),
        pytest.param({"x-session-id": KEY}, {}, f"{KEY[:6]}…{KEY[-4:]}", id="an API key"),
        ({}, {"user": "a person"}, ""),
    ],
)
@in_loop
async def test_the_session_that_the_client_names_is_recorded(
    headers: dict[str, str], fields: dict[str, Any], recorded: str
) -> None:
    async with World(GOOD) as world:
        assert (await world.post(body(**fields), headers=headers)).status == 200
    assert world.gate.only.session_id == recorded
