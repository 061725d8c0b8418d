"""A stream's reasoning goes where the surface has it; what is there already isn't touched."""

import json
from typing import Any

import pytest

from api.dialects.base import AnswerContext, DialectError
from api.dialects.openai_chat import CHAT
from api.dialects.openai_chat.stream import CompletionStreamReader
from api.dialects.reasoning import MAX_WITHHELD_CHARS, Field, translate_message

Json = dict[str, Any]


def event(*deltas: Json | None, finish: str | None = None, **fields: Any) -> bytes:
    """Return an event with a choice for each delta."""
    choices = [
        {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        for index, delta in enumerate(deltas)
    ]
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        **fields,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def reader(field: Field, *, is_tagged: bool = False, choices: int = 1) -> CompletionStreamReader:
    """Return a reader of the public model `m`."""
    fields = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": choices}
    context = AnswerContext(CHAT.parse(fields, 0), "m", field, is_tagged=is_tagged)
    return CompletionStreamReader(context)


def told(data: bytes) -> list[Json]:
    """Return the deltas of an output's events."""
    chunks = [json.loads(line[6:]) for line in data.split(b"\n\n") if line]
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize(
    "delta",
    [{"content": "a"}, {"role": "assistant", "content": ""}, {"OWN": "b"}, {"OWN": None}, {}],
)
def test_bytes_pass_where_the_dialect_is_the_surfaces(field: Field, delta: Json) -> None:
    own = {str(field) if name == "OWN" else name: text for name, text in delta.items()}
    data = event(own)
    assert reader(field).feed(data) == data


@pytest.mark.parametrize(
    ("field", "theirs"), [("reasoning", "reasoning_content"), ("reasoning_content", "reasoning")]
)
def test_another_name_is_replaced_in_the_bytes(field: Field, theirs: str) -> None:
    said = f'"{theirs}": "{theirs}":'
    data = event({theirs: said, "content": None}, odd=[1, {"b": 2}])
    passed_on = reader(field).feed(data)
    assert passed_on == data.replace(f'"{theirs}":"'.encode(), f'"{field}":"'.encode(), 1)
    assert told(passed_on) == [{field: said, "content": None}]


def test_a_name_that_is_elsewhere_too_is_replaced_by_place() -> None:
    data = event({"reasoning": "a"}, reasoning={"effort": "low"})
    passed_on = reader("reasoning_content").feed(data)
    assert told(passed_on) == [{"reasoning_content": "a"}]
    assert json.loads(passed_on[6:])["reasoning"] == {"effort": "low"}


def test_both_names_at_once_leave_the_surfaces() -> None:
    both = {"reasoning": "a", "reasoning_content": "a"}
    one = reader("reasoning")
    assert told(one.feed(event(both))) == [{"reasoning": "a"}]
    assert one.text_bytes == 1
    mixed = {"reasoning": None, "reasoning_content": "b"}
    assert told(reader("reasoning").feed(event(mixed))) == [{"reasoning": "b"}]


def test_the_models_name_is_replaced_beside() -> None:
    data = event({"reasoning_content": "a"}, model="theirs")
    passed_on = reader("reasoning").feed(data)
    assert json.loads(passed_on[6:])["model"] == "m"
    assert told(passed_on) == [{"reasoning": "a"}]


def test_an_event_with_usage_is_translated_too() -> None:
    one = reader("reasoning")
    passed_on = one.feed(event({"reasoning_content": "a"}, usage={"prompt_tokens": 1}))
    assert told(passed_on) == [{"reasoning": "a"}]
    assert b"usage" not in passed_on
    assert one.evidence.figures == {"prompt_tokens": 1}


def test_answers_pass_as_bytes_once_all_tags_are_through() -> None:
    one = reader("reasoning", is_tagged=True, choices=2)
    tagged = {"content": "<think>a</think>b"}
    assert told(one.feed(event(tagged, {"content": "c"}))) == [
        {"content": "b", "reasoning": "a"},
        {"content": "c"},
    ]
    data = event({"content": "<think>"}).replace(b",", b" , ")
    assert one.feed(data) == data


def test_a_tag_that_comes_to_nothing_is_text() -> None:
    one = reader("reasoning", is_tagged=True)
    passed_on = one.feed(event({"content": "<thi"}) + event({}, finish="stop")) + one.finish()
    assert told(passed_on) == [{"content": "<thi"}, {}]


def test_without_a_finish_reason_the_rest_comes_at_the_end() -> None:
    one = reader("reasoning", is_tagged=True)
    assert told(one.feed(event({"content": "<think>a</"}))) == [{"reasoning": "a"}]
    assert one.feed(b"data: [DONE]\n\n") == b""
    assert told(one.finish()) == [{"reasoning": "</"}]


class TestWithoutAField:
    """The surface gives the answer alone."""

    def test_reasoning_is_dropped_when_the_answer_comes(self) -> None:
        one = reader(None)
        passed_on = one.feed(
            event({"role": "assistant", "reasoning": "a"})
            + event({"role": "assistant", "content": "", "reasoning": "b"})
            + event({"reasoning_content": "c", "reasoning_details": [{"text": "c"}]})
            + event({"content": "d"})
        )
        assert told(passed_on) == [{"role": "assistant"}, {"content": "d"}]
        data = event({"content": "e"})
        assert one.feed(data) == data
        assert told(one.feed(event({"reasoning": "late"}))) == []
        assert told(one.feed(event({}, finish="stop")) + one.finish()) == [{}]
        assert one.text_bytes == 4 + len("late") + 1 - 0 - 0

    def test_it_is_the_answer_where_there_is_none(self) -> None:
        one = reader(None)
        assert one.feed(event({"reasoning": "a"}) + event({"reasoning": "b"})) == b""
        last = one.feed(event({}, finish="length") + b"data: [DONE]\n\n") + one.finish()
        assert told(last) == [{"content": "ab"}, {}]

    def test_an_answer_in_one_chunk_stays_one_chunk(self) -> None:
        delta = {"role": "assistant", "content": None, "reasoning": "a"}
        passed_on = reader(None).feed(event(delta, finish="stop"))
        assert told(passed_on) == [{"role": "assistant", "content": "a"}]

    def test_without_a_finish_reason_it_comes_at_the_end(self) -> None:
        one = reader(None)
        data = event({"reasoning": "a"}) + event(usage={"prompt_tokens": 1}) + b"data: [DONE]\n\n"
        assert one.feed(data) == b""
        last = one.finish()
        assert told(last) == [{"content": "a"}]
        assert b"usage" not in last

    def test_a_tool_call_is_an_answer(self) -> None:
        one = reader(None)
        call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}
        passed_on = one.feed(event({"reasoning": "a"}) + event(call) + event({}, finish="stop"))
        assert told(passed_on) == [call, {}]

    def test_nulls_are_taken_out(self) -> None:
        delta = {"content": "a", "reasoning": None, "reasoning_content": None}
        assert told(reader(None).feed(event(delta))) == [{"content": "a"}]

    def test_choices_are_told_apart(self) -> None:
        one = reader(None)
        assert told(one.feed(event({"reasoning": "a"}, {"reasoning": "b"}))) == []
        assert told(one.feed(event({}, {"content": "c"}))) == [{}, {"content": "c"}]
        last = one.feed(event({}, {}, finish="stop"))
        assert told(last) == [{"content": "a"}, {}, {}]

    def test_what_is_held_back_is_bounded(self) -> None:
        one = reader(None)
        piece = event({"reasoning": "x" * (MAX_WITHHELD_CHARS // 4)})
        for _ in range(4):
            assert one.feed(piece) == b""
        assert one.error is None
        one.feed(piece)
        assert isinstance(one.error, DialectError)

    def test_text_of_an_answer_about_reasoning_is_left_alone(self) -> None:
        data = event({"content": 'say "reasoning": "x"'})
        assert told(reader(None).feed(data)) == [{"content": 'say "reasoning": "x"'}]


@pytest.mark.parametrize(
    ("message", "field", "is_tagged", "expected"),
    [
        ({"content": "a", "reasoning": "b"}, "reasoning", False, None),
        (
            {"content": "a", "reasoning": "b"},
            "reasoning_content",
            False,
            {"content": "a", "reasoning_content": "b"},
        ),
        ({"content": "a", "reasoning": "b"}, None, False, {"content": "a"}),
        ({"content": "", "reasoning": "b"}, None, False, {"content": "b"}),
        ({"content": None, "reasoning_content": "b"}, None, False, {"content": "b"}),
        ({"content": "a", "reasoning": None}, None, False, {"content": "a"}),
        (
            {"content": "<think>b</think>a"},
            "reasoning",
            True,
            {"content": "a", "reasoning": "b"},
        ),
        ({"content": "<think>b</think>a"}, "reasoning", False, None),
        ({"content": "<think>b"}, None, True, {"content": "b"}),
        ({"content": None, "tool_calls": [1], "reasoning": "b"}, None, False,
         {"content": None, "tool_calls": [1]}),
    ],
)  # fmt: skip
def test_a_whole_message(
    message: Json, field: Field, is_tagged: bool, expected: Json | None
) -> None:
    made = dict(message)
    translate_message(made, field, is_tagged=is_tagged)
    assert made == (message if expected is None else expected)
