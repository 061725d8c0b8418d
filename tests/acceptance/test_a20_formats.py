"""20 and 21: response formats, thinking, plugins, and what can't be combined."""

import json
from typing import Any

import pytest

from tests.acceptance.talk import row_of, talk_to
from tests.stack import Stack

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "population": {"type": "integer", "minimum": 0},
        "rivers": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city", "population"],
    "additionalProperties": False,
}
ANSWIRA = "zai-org/GLM-4.7-FP8"
WEB = [{"id": "web"}]


def schema_format(schema: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a response format with a schema."""
    named = {"name": "city", "schema": SCHEMA if schema is None else schema, **fields}
    return {"type": "json_schema", "json_schema": named}


def test_a20_a_json_object(stack: Stack) -> None:
    messages = [
        {"role": "system", "content": "Respond in JSON format."},
        {"role": "user", "content": "List 3 European capitals with their countries."},
    ]
    message = talk_to(stack).message(
        "/api/v1", model=ANSWIRA, messages=messages, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(message["content"]), dict)


@pytest.mark.parametrize("strict", [True, False, None])
def test_a20_an_answer_to_a_schema(stack: Stack, strict: bool | None) -> None:
    talk = talk_to(stack)
    fields = {"model": ANSWIRA, "response_format": schema_format(strict=strict)}
    made = json.loads(talk.message("/api/v1", **fields)["content"])
    assert isinstance(made["city"], str)
    assert isinstance(made["population"], int)
    assert made.keys() <= SCHEMA["properties"].keys()
    assert talk.chat(**fields).status_code == 200


def test_a20_text_is_a_format_too(stack: Stack) -> None:
    assert talk_to(stack).message(response_format={"type": "text"})["content"]


IN_SCHEMA = "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ({"type": "xml"}, "response_format.type"),
        ({}, "response_format.type"),
        ("json_object", "response_format"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, IN_SCHEMA),
        (schema_format(name="a b"), "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": []}}, IN_SCHEMA),
        (schema_format({"type": "objekt"}), f"{IN_SCHEMA}.type"),
        (schema_format({"type": ["string", "string"]}), f"{IN_SCHEMA}.type"),
        (schema_format({"properties": {"a": 5}}), f"{IN_SCHEMA}.properties.a"),
        (schema_format({"properties": []}), f"{IN_SCHEMA}.properties"),
        (schema_format({"required": "city"}), f"{IN_SCHEMA}.required"),
        (schema_format({"anyOf": [{"minimum": "1"}]}), f"{IN_SCHEMA}.anyOf[0].minimum"),
        (schema_format({"items": {"enum": 5}}), f"{IN_SCHEMA}.items.enum"),
    ],
)
def test_a20_what_is_no_schema_is_refused(stack: Stack, response_format: Any, param: str) -> None:
    talk = talk_to(stack)
    answer = talk.chat(model=ANSWIRA, response_format=response_format)
    told = answer.json()["error"]
    assert (answer.status_code, told["param"]) == (400, param), told
    assert talk.never_sent(answer)


@pytest.mark.parametrize("stream", [False, True])
def test_a20_thinking_switches_reasoning(stack: Stack, stream: bool) -> None:
    talk = talk_to(stack)
    on = talk.chat("/api/paas/v4", thinking={"type": "enabled"}, stream=stream)
    off = talk.chat("/api/paas/v4", thinking={"type": "disabled"}, stream=stream)
    assert talk.sent(on)["params"]["thinking"] == {"type": "enabled"}
    assert '"reasoning_content":' in on.text
    assert '"reasoning_content":' not in off.text
    # Reasoning is billed: eight tokens of it, two of input, sixteen of answer.
    assert talk.charged(on) == 2 * 700 + (8 + 16) * 2_500
    assert talk.charged(off) == 2 * 700 + 16 * 2_500


@pytest.mark.parametrize(
    ("thinking", "param"),
    [
        (True, "thinking"),
        ("enabled", "thinking"),
        ({}, "thinking.type"),
        ({"type": "on"}, "thinking.type"),
        ({"type": True}, "thinking.type"),
    ],
)
def test_a20_a_mistake_in_thinking_is_named(stack: Stack, thinking: Any, param: str) -> None:
    status, _, named = talk_to(stack).refusal(thinking=thinking)
    assert (status, named) == (400, param)


def test_a20_whether_a_model_thinks_its_row_says(stack: Stack) -> None:
    talk = talk_to(stack)
    thinking = {"model": "qwen3.6-27b", "thinking": {"type": "enabled"}}
    assert talk.chat(**thinking).status_code == 200
    with row_of(stack, "qwen3.6-27b", refused_parameters=["thinking.enabled"]):
        code = talk.refusal(**thinking)
        assert code == (400, "unsupported_parameter", "thinking.enabled")
        off = {**thinking, "thinking": {"type": "disabled"}}
        assert talk.chat(**off).status_code == 200


@pytest.mark.parametrize("model", ["GEMINI_25_FLASH", "GPT_4O", "glm-5.2"])
def test_a21_plugins_are_passed_through(stack: Stack, model: str) -> None:
    talk = talk_to(stack)
    answer = talk.chat(model=model, plugins=WEB)
    assert talk.sent(answer)["params"]["plugins"] == WEB


@pytest.mark.parametrize(
    ("plugins", "param"),
    [("web", "plugins"), ({"id": "web"}, "plugins"), ([{}], "plugins[0].id"), ([5], "plugins[0]")],
)
def test_a21_a_mistake_in_plugins_is_named(stack: Stack, plugins: Any, param: str) -> None:
    status, _, named = talk_to(stack).refusal(plugins=plugins)
    assert (status, named) == (400, param)


GEMINIS = (
    "GEMINI_3_5_FLASH",
    "GEMINI_3_1_PRO",
    "GEMINI_3_1_FLASH_LITE",
    "GEMINI_25_PRO",
    "GEMINI_25_FLASH",
)


@pytest.mark.parametrize("model", GEMINIS)
def test_a21_gemini_has_no_web_search_with_a_schema(stack: Stack, model: str) -> None:
    talk = talk_to(stack)
    both = {"plugins": WEB, "response_format": schema_format()}
    answer = talk.chat(model=model, **both)
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (400, "unsupported_parameter")
    assert talk.never_sent(answer)
    assert talk.chat(model=model, plugins=WEB).status_code == 200
    assert talk.chat(model=model, response_format=schema_format()).status_code == 200
    json_object = {"type": "json_object"}
    assert talk.chat(model=model, plugins=WEB, response_format=json_object).status_code == 200


def test_a21_other_models_get_both(stack: Stack) -> None:
    fields = {"plugins": WEB, "response_format": schema_format()}
    assert talk_to(stack).chat(model="GPT_4O", **fields).status_code == 200
