"""The splitter of server-sent events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dialects.sse import MAX_EVENT_BYTES, EventSplitter, OversizedEventError, data_of

EVENTS = [b"data: {}", b": ping", b"event: x\ndata: a\ndata:b", b"data: \xc3\xa9", b"data: [DONE]"]


def split(pieces: list[bytes]) -> list[bytes]:
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return [event for event in events if event]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_cut_gives_the_same_events(line_end: bytes) -> None:
    text = (b"\n\n".join(EVENTS) + b"\n\n").replace(b"\n", line_end)
    # A CR at the very end may be half of a CR LF, so what it ends comes with the next byte.
    for cut in range(len(text) + 1):
        assert split([text[:cut], text[cut:], line_end]) == EVENTS
    assert split([bytes([byte]) for byte in text + line_end]) == EVENTS


@given(st.data())
def test_any_cuts_give_the_same_events(data: st.DataObject) -> None:
    text = b"".join(
        event.replace(b"\n", end) + end + end
        for event in data.draw(st.lists(st.sampled_from(EVENTS), max_size=6))
        for end in [data.draw(st.sampled_from([b"\n", b"\r\n"]))]
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(pieces) == split([text])


def test_what_is_unfinished_is_kept() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n\ndata: b") == [b"data: a"]
    assert splitter.rest() == b"data: b"


def test_an_endless_event_is_refused() -> None:
    splitter = EventSplitter()
    for _ in range(MAX_EVENT_BYTES // 65_536):
        splitter.feed(b"x" * 65_536)
    with pytest.raises(OversizedEventError):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a", b"a"),
        (b"data:a", b"a"),
        (b"data:  a", b" a"),
        (b": comment", b""),
        (b"event: x\nid: 5\ndata: a", b"a"),
        (b"data: a\ndata: b", b"a\nb"),
        (b"database: a", b""),
    ],
)
def test_data_is_read_by_the_standard(event: bytes, data: bytes) -> None:
    assert data_of(event) == data
