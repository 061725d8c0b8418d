"""The bound on a prompt's tokens, and the guess."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dialects.anthropic_messages import MESSAGES
from api.dialects.base import Dialect
from api.dialects.openai_chat import CHAT
from api.dialects.openai_completions import COMPLETIONS
from api.dialects.openai_responses import RESPONSES
from api.gateway.quote import Estimate, estimate_prompt
from api.operations.embeddings import EmbeddingsDialect
from tests.api.gateway.world import World

MODEL = World().snapshot().models["public-model"]
EMBEDDINGS = EmbeddingsDialect()
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


def estimate(fields: dict[str, Any], **dump: Any) -> Estimate:
    content = json.dumps(fields, **dump).encode()
    return estimate_prompt(CHAT.parse(fields, len(content)), MODEL)


def texts(value: Any) -> list[str]:
    """Return every string in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *texts(item)]]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_no_text_of_a_request_has_more_bytes_than_the_bound(
    contents: list[str], schema: dict[str, str], as_parts: bool, is_ascii: bool
) -> None:
    fields: dict[str, Any] = {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": text}] if as_parts else text,
            }
            for text in contents
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    }
    found = estimate(fields, ensure_ascii=is_ascii)
    shown = sum(len(text.encode()) for text in texts([fields["messages"], fields["tools"]]))
    assert shown + 16 * len(contents) <= found.most
    assert found.likely <= found.most


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "x" * 400}]}),
        (MESSAGES, {"messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 9}),
        (RESPONSES, {"input": "x" * 400}),
    ],
)
def test_a_prompt_without_tools_is_guessed_alike_in_every_dialect(
    dialect: Dialect, fields: dict[str, Any]
) -> None:
    content = json.dumps({"model": "m", **fields}).encode()
    parsed = dialect.parse({"model": "m", **fields}, len(content))
    assert estimate_prompt(parsed, MODEL).likely == 104


LONG = {"type": "object", "properties": {"city": {"type": "string", "description": "é" * 4_000}}}
BASE64 = "A" * 64_000
CHAT_TOOL = {"type": "function", "function": {"name": "f", "parameters": LONG}}
CHAT_FORM = {"type": "json_schema", "json_schema": {"name": "f", "schema": LONG}}
CHAT_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x" * 8_000}}


def said(part: dict[str, Any]) -> dict[str, Any]:
    """Return a chat of one part."""
    return {"messages": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        (CHAT, {"tools": [CHAT_TOOL]}),
        (CHAT, {"response_format": CHAT_FORM}),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": [CHAT_CALL]}]}),
        (
            CHAT,
            {
                "messages": [
                    {"role": "assistant", "function_call": {"name": "f", "arguments": "x" * 8_000}}
                ]
            },
        ),
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "assistant",
                        "reasoning_content": "x" * 8_000,
                        "tool_calls": [{**CHAT_CALL, "function": {"name": "f", "arguments": ""}}],
                    }
                ]
            },
        ),
        (CHAT, said({"type": "file", "file": {"file_data": BASE64}})),
        (CHAT, said({"type": "file", "file": {"file_id": "f"}})),
        (
            CHAT,
            said({"type": "input_audio", "input_audio": {"data": BASE64 * 32, "format": "mp3"}}),
        ),
        (CHAT, said({"type": "video_url", "video_url": {"url": "https://x/y"}})),
        (CHAT, said({"type": "video_url", "video_url": {"url": "data:" + BASE64 * 16}})),
        (COMPLETIONS, {"prompt": "Hi", "suffix": "x" * 8_000}),
        (MESSAGES, {"tools": [{"name": "f", "input_schema": LONG}]}),
        (MESSAGES, {"output_config": {"format": {"type": "json_schema", "schema": LONG}}}),
        (MESSAGES, {"system": [{"type": "unheard_of", "text": "x" * 8_000}]}),
        (
            MESSAGES,
            said(
                {
                    "type": "document",
                    "source": {
                        "type": "base64",
                        "media_type": "application/pdf",
                        "data": BASE64,
                    },
                }
            ),
        ),
        (
            MESSAGES,
            said({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}),
        ),
        (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": LONG}]}),
        (
            RESPONSES,
            {"text": {"format": {"type": "json_schema", "name": "f", "schema": LONG}}},
        ),
        (RESPONSES, {"input": [{"type": "unheard_of", "text": "x" * 8_000}]}),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": BASE64}]}]},
        ),
        (
            RESPONSES,
            {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "input_audio",
                                "input_audio": {"data": BASE64 * 32, "format": "mp3"},
                            }
                        ],
                    }
                ]
            },
        ),
        (EMBEDDINGS, {"input": ["x" * 4_000, "y" * 4_000]}),
    ],
)
def test_all_that_is_sent_counts(dialect: Dialect, fields: dict[str, Any]) -> None:
    whole = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "input": "Hi",
        "max_tokens": 9,
        **fields,
    }
    parsed = dialect.parse(whole, len(json.dumps(whole).encode()))
    found = estimate_prompt(parsed, MODEL)
    assert 2_000 <= found.likely <= 2_100
    assert found.likely <= found.most


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_images_count_by_the_models_figure_and_not_by_their_bytes() -> None:
    inline = image("data:image/png;base64," + "A" * 1_000_000)
    fields = {"model": "m", "messages": [{"role": "user", "content": [inline, image("https://x")]}]}
    found = estimate(fields)
    assert 2_000 <= found.most < 2_500
    assert found.likely == 2_004


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "video_url", "video_url": {"url": "https://x"}},
    ],
)
def test_what_is_only_referred_to_may_fill_the_context(part: dict[str, Any]) -> None:
    found = estimate({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    assert found.most == MODEL.context_tokens


def test_the_bound_ends_at_the_context() -> None:
    found = estimate({"model": "m", "messages": [{"role": "user", "content": "x" * 1_000_000}]})
    assert found.most == found.likely == MODEL.context_tokens
