"""Streams: the chunks' shapes, where usage and reasoning go, and the ways to spell bytes."""

import json

import pytest

ASKED = {"stream_options": {"include_usage": True}}


def usage_chunks(answer):
    return [place for place, chunk in enumerate(answer.chunks) if chunk.get("usage")]


def test_a_stream_has_openais_chunks(sim):
    answer = sim.stream("tokens=2", **ASKED)
    first, one, two, last, usage, done = answer.events

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.complete
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert [chunk["choices"][0]["delta"] for chunk in (one, two, last)] == [
        {"content": "sun "},
        {"content": "fox "},
        {},
    ]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in answer.chunks}) == 1


def test_a_stream_says_what_the_plain_answer_says(sim):
    for script in ("tokens=40", "reasoning=5&tokens=4&dialect=think", "chunk_tokens=7"):
        plain = sim.chat(script, n=2).json
        stream = sim.stream(script, n=2)
        for index in (0, 1):
            assert stream.text(index=index) == plain["choices"][index]["message"]["content"]


def test_events_are_written_compactly_and_end_in_an_empty_line(sim):
    body = sim.stream("tokens=1").body

    assert b'"choices":[{"index":0,"delta":{"content":"sun "},"logprobs":null,' in body
    assert body.endswith(b"data: [DONE]\n\n")


def test_a_models_name_cannot_break_the_template(sim):
    name = 'a"\\\x00"\x00"content?tokens=2'

    answer = sim.stream(model=name)
    assert {chunk["model"] for chunk in answer.chunks} == {name}
    assert answer.text() == "sun fox "


def test_choices_take_turns(sim):
    answer = sim.stream("tokens=2", n=2)
    order = [chunk["choices"][0]["index"] for chunk in answer.chunks]

    assert order == [0, 1, 0, 1, 0, 1, 0, 1]


def test_chunks_and_writes_may_carry_several_tokens(sim):
    assert [delta.get("content") for delta in sim.stream("tokens=5&chunk_tokens=2").deltas] == [
        "",
        "sun fox ",
        "map oak ",
        "tea ",
        None,
    ]
    # The opening, two writes of three and two chunks, the closing.
    assert len(sim.stream("tokens=5&chunks_per_write=3").pieces) == 4


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_first_and_in_its_field(sim, field):
    deltas = sim.stream(f"tokens=1&reasoning=2&dialect={field}").deltas

    assert deltas[1:4] == [{field: "key "}, {field: "lid "}, {"content": "sun "}]


def test_think_tags_are_split_awkwardly(sim):
    deltas = sim.stream("tokens=2&reasoning=2&dialect=think").deltas
    texts = [delta.get("content") for delta in deltas[1:-1]]

    assert texts == ["<th", "ink>key ", "lid </thi", "nk>sun ", "fox "]


def test_a_tool_call_is_streamed_in_fragments(sim):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"q": {}}}}}
    plain = sim.stream(tools=[tool]).deltas
    after_reasoning = sim.stream("reasoning=1", tools=[tool]).deltas
    (opening,) = plain[0]["tool_calls"]
    fragments = [delta["tool_calls"][0] for delta in plain[1:-1]]

    assert plain[0]["role"] == "assistant"
    assert opening["function"] == {"name": "f", "arguments": ""}
    assert opening["id"]
    assert all("id" not in fragment for fragment in fragments)
    arguments = "".join(fragment["function"]["arguments"] for fragment in fragments)
    assert json.loads(arguments) == {"q": "Tokyo"}
    assert len(fragments) == -(-len(arguments) // 4)
    assert [sorted(delta) for delta in after_reasoning[:3]] == [
        ["content", "role"],
        ["reasoning_content"],
        ["tool_calls"],
    ]


@pytest.mark.parametrize(
    ("script", "places"),
    [
        ("usage=normal", [4]),
        ("usage=late", [4]),
        ("usage=early", [0]),
        ("usage=last_chunk", [3]),
        ("usage=twice", [4, 5]),
        ("usage=running", [1, 2, 4]),
        ("usage=missing", []),
    ],
)
def test_usage_can_stand_anywhere(sim, script, places):
    answer = sim.stream(f"tokens=2&{script}", **ASKED)

    assert usage_chunks(answer) == places
    for place in places[-1:]:
        assert answer.chunks[place]["usage"]["completion_tokens"] == 2


def test_usage_is_sent_when_asked_for_or_forced(sim):
    assert usage_chunks(sim.stream("tokens=2")) == []
    assert usage_chunks(sim.stream("tokens=2&usage=early")) == []
    assert usage_chunks(sim.stream("tokens=2&usage=forced")) == [4]
    assert usage_chunks(sim.stream("tokens=2&usage=last_chunk,forced")) == [3]
    nulls = sim.stream("tokens=2&usage=nulls", **ASKED).chunks
    assert [chunk["usage"] is None for chunk in nulls] == [True, True, True, True, False]


def test_running_usage_grows(sim):
    answer = sim.stream("tokens=2&usage=running", **ASKED)
    counts = [chunk["usage"]["completion_tokens"] for chunk in answer.chunks if "usage" in chunk]

    assert counts == [1, 2, 2]


def test_endings_may_be_left_out(sim):
    assert sim.stream("done=0").events[-1]["choices"][0]["finish_reason"] == "stop"
    unfinished = sim.stream("finish=none")
    assert unfinished.events[-1] == "[DONE]"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in unfinished.chunks)
    assert usage_chunks(sim.stream("tokens=1&finish=none&usage=last_chunk,forced")) == [2]


def test_an_empty_completion_is_a_role_and_an_end(sim):
    assert sim.stream("content=empty").deltas == [{"role": "assistant", "content": ""}, {}]


@pytest.mark.parametrize("spelling", ["spaces=1", "crlf=1", "tight=1", "split=7", "split=1&crlf=1"])
def test_other_spellings_say_the_same(sim, spelling):
    usual, other = sim.stream("reasoning=3"), sim.stream(f"reasoning=3&{spelling}")

    assert other.body != usual.body or spelling == "split=7"
    assert other.text("reasoning_content") == usual.text("reasoning_content")
    assert other.text() == usual.text()
    assert other.events[-1] == "[DONE]"
    assert (b"\r\n\r\n" in other.body) == ("crlf" in spelling)


def test_split_cuts_wherever_it_falls(sim):
    sizes = [len(piece) for piece in sim.stream("split=100").pieces]

    assert set(sizes[:-1]) == {100}
    assert 0 < sizes[-1] <= 100


def test_comments_drip_while_waiting(sim):
    answer = sim.stream("tokens=1&first_ms=450&comments=1")
    comments = [piece for piece in answer.pieces if piece.startswith(b":")]

    assert answer.pieces[0].startswith(b":")
    assert len(comments) == 3
    assert answer.text() == "sun "


def test_calls_made_at_once_are_streamed_one_after_the_other(sim):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for script in ("calls=2", "calls=2&reasoning=1"):
        deltas = sim.stream(script, tools=[tool]).deltas
        calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]

        assert [call["index"] for call in calls] == [0, 0, 1, 1]
        assert [call.get("id") for call in calls] == ["call_sim0000", None, "call_sim0000_1", None]
        assert [call["function"]["arguments"] for call in calls] == ["", "{}", "", "{}"]


def test_a_streamed_refusal_has_its_own_field(sim):
    assert sim.stream("content=refusal&tokens=2").text("refusal") == "sun fox "
