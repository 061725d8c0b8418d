"""Any conversation survives being said in a dialect and read again, up to what its table says."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.dialects import DIALECTS
from api.dialects.conversation import (
    Block,
    Conversation,
    Image,
    OutputFormat,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    alternated,
)
from tests.api.dialects.clients import SCHEMA
from tests.api.dialects.pairs import model_entry

# Each is a test for every pair, and CI looks at more examples.
BOUNDED = settings(max_examples=min(settings().max_examples, 200))
SPOKEN = ["openai_chat", "anthropic_messages", "openai_responses"]

words = st.text("abc ü😀\n", min_size=1, max_size=12).filter(str.strip)
names = st.sampled_from(["look", "touch", "listen"])
texts = st.builds(Text, words)
images = st.one_of(
    st.builds(Image, url=st.just("https://example.com/a.png")),
    st.builds(Image, media_type=st.just("image/png"), data=st.just("AAAA")),
)
arguments = st.dictionaries(st.sampled_from("ab"), st.integers(0, 9), max_size=2).map(
    lambda given: json.dumps(given, separators=(",", ":"))
)
signed = {
    "anthropic_messages": st.builds(
        Reasoning, words, st.just("c2lnbmVk"), st.just("anthropic"), st.just(False)
    ),
    "openai_responses": st.builds(
        Reasoning, words, st.just("ZW5j"), st.just("openai"), st.just(False), st.just("rs_1")
    ),
}


@st.composite
def exchanges(draw: Callable[..., Any], dialect: str) -> list[Turn]:
    """A question, perhaps with calls of tools and their results, and its answer."""
    turns = [Turn("user", tuple(draw(st.lists(st.one_of(texts, images), min_size=1, max_size=3))))]
    reasoning: list[Block] = (
        draw(st.lists(signed[dialect], max_size=1)) if dialect in signed else []
    )
    calls = [
        ToolCall(f"call_{draw(st.integers(0, 10**9))}_{number}", draw(names), draw(arguments))
        for number in range(draw(st.integers(0, 3)))
    ]
    if calls:
        said = draw(st.lists(texts, max_size=1))
        turns.append(Turn("assistant", (*reasoning, *said, *calls)))
        results = [ToolResult(call.id, (draw(texts),)) for call in calls]
        turns.append(Turn("user", tuple(results)))
        reasoning = []
    turns.append(Turn("assistant", (*reasoning, draw(texts))))
    return turns


def conversations(dialect: str) -> st.SearchStrategy[Conversation]:
    """Conversations that every dialect can say."""
    system = st.lists(st.builds(Turn, st.just("system"), st.tuples(texts)), max_size=1)
    turns = st.lists(exchanges(dialect), min_size=1, max_size=3).map(
        lambda lists: [turn for each in lists for turn in each]
    )
    last = st.builds(Turn, st.just("user"), st.tuples(texts))
    tools = [Tool(name, f"Do {name}.", SCHEMA) for name in ("look", "touch", "listen")]
    return st.builds(
        lambda start, middle, end, **wishes: Conversation(
            turns=[*start, *middle, end], tools=tools, **wishes
        ),
        system,
        turns,
        last,
        tool_choice=st.sampled_from(
            [None, ToolChoice("auto"), ToolChoice("required"), ToolChoice("required", ("touch",))]
        ),
        parallel_tool_calls=st.sampled_from([None, False]),
        output_format=st.sampled_from([None, OutputFormat("json_schema", schema=SCHEMA)]),
        temperature=st.sampled_from([None, 0.5]),
        top_p=st.sampled_from([None, 0.9]),
        is_streamed=st.booleans(),
        end_user=st.sampled_from(["", "somebody"]),
    )


def comparable(conversation: Conversation) -> dict[str, Any]:
    """Return what must survive: who said what in which order, and what was asked for."""
    turns = []
    for turn in alternated(conversation.turns):
        blocks = [_comparable(block) for block in turn.blocks]
        turns.append(("system" if turn.role == "developer" else turn.role, blocks))
    form = conversation.output_format
    return {
        "turns": turns,
        "tools": [(tool.name, tool.description, tool.parameters) for tool in conversation.tools],
        "choice": conversation.tool_choice or ToolChoice("auto"),  # the default
        "parallel": conversation.parallel_tool_calls,
        "schema": form.schema if form is not None else None,
        "sampling": (conversation.temperature, conversation.top_p),
        "streamed": conversation.is_streamed,
        "end_user": conversation.end_user,
    }


def _comparable(block: Block) -> Block:
    if isinstance(block, Image):
        return replace(block, detail=None)
    if isinstance(block, Reasoning):
        return replace(block, item_id="")
    return block


@pytest.mark.parametrize("dialect", SPOKEN)
@BOUNDED
@given(data=st.data())
def test_what_is_said_is_read_again(dialect: str, data: st.DataObject) -> None:
    conversation = data.draw(conversations(dialect))
    said = DIALECTS[dialect]
    assert said.translation is not None
    body = said.translation.body_of(conversation, *model_entry(dialect), 8_000)
    # Through JSON, as over the wire.
    body = json.loads(json.dumps(body))
    again = said.translation.conversation_of(said.parse(body, len(json.dumps(body))))
    assert seamless(comparable(again)) == seamless(comparable(conversation))


@BOUNDED
@given(data=st.data(), first=st.sampled_from(SPOKEN), second=st.sampled_from(SPOKEN))
def test_what_passes_through_two_dialects_means_the_same(
    data: st.DataObject, first: str, second: str
) -> None:
    conversation = data.draw(conversations("none"))
    expected = seamless(comparable(conversation))
    for dialect in (first, second, first):
        said = DIALECTS[dialect]
        assert said.translation is not None
        body = said.translation.body_of(conversation, *model_entry(dialect), 8_000)
        conversation = said.translation.conversation_of(said.parse(body, 1_000))
    assert seamless(comparable(conversation)) == expected


def seamless(told: dict[str, Any]) -> dict[str, Any]:
    """Return the same without seams between neighbouring texts, which chat has none of."""
    turns = []
    for role, blocks in told["turns"]:
        joined: list[Any] = []
        for block in blocks:
            if joined and isinstance(block, Text) and isinstance(joined[-1], Text):
                seam = "" if role == "assistant" else "\n\n"
                joined[-1] = Text(joined[-1].text + seam + block.text)
            else:
                joined.append(block)
        turns.append((role, joined))
    return {**told, "turns": turns}
