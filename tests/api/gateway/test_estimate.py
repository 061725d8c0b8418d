"""The bound on a prompt's tokens, and the guess."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dialects.anthropic_messages import MESSAGES
from api.dialects.base import Dialect
from api.dialects.openai_chat import CHAT
from api.dialects.openai_responses import RESPONSES
from api.gateway.quote import Estimate, estimate_prompt
from tests.api.gateway.world import World

MODEL = World().snapshot().models["public-model"]
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
    assert estimate_prompt(parsed, MODEL).likely == 100


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_images_count_by_the_models_figure_and_not_by_their_bytes() -> None:
    inline = image("data:image/png;base64," + "A" * 1_000_000)
    fields = {"model": "m", "messages": [{"role": "user", "content": [inline, image("https://x")]}]}
    found = estimate(fields)
    assert 2_000 <= found.most < 2_500
    assert found.likely == 2_000


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
