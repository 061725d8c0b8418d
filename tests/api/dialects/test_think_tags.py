"""Texts with `<think>` tags are parted in the same way wherever they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dialects.think_tags import MAX_BLANK, ThinkSplitter


def parted(*pieces: str) -> tuple[str, str]:
    """Return reasoning and answer of a text that comes in pieces."""
    splitter = ThinkSplitter()
    parts = [splitter.feed(piece) for piece in pieces] + [splitter.rest()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>a b</think>c d", "a b", "c d"),
        ("\n <think>\na\n</think>\n\nb\n", "a\n", "b\n"),
        ("<think></think>b", "", "b"),
        ("<think>a</think>", "a", ""),
        ("<think>a", "a", ""),
        ("<think>a</thi", "a</thi", ""),
        ("<think>a</thinker>b", "a</thinker>b", ""),
        ("<think>1 < 2 </ 3</think>4", "1 < 2 </ 3", "4"),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("a<think>b</think>", "", "a<think>b</think>"),
        ("a</think>b", "", "a</think>b"),
        ("<thi", "", "<thi"),
        ("<thing>a", "", "<thing>a"),
        ("  a", "", "  a"),
        ("<think>\u00e9</think>\u4e16", "\u00e9", "\u4e16"),
        ("", "", ""),
    ],
)
def test_a_text_in_one_piece_and_in_single_characters(
    text: str, reasoning: str, answer: str
) -> None:
    assert parted(text) == (reasoning, answer)
    assert parted(*text) == (reasoning, answer)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "/th", "ink>", "a", " \n", "b<"])))
def test_cuts_change_nothing(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert parted(*pieces) == parted(whole) == parted(*whole)


@given(st.text(), st.text())
def test_nothing_is_lost_but_blanks_and_tags(reasoning: str, answer: str) -> None:
    told = parted(f"<think>{reasoning}</think>{answer}")
    if "</think>" not in reasoning:
        assert told == (reasoning.lstrip(), answer.lstrip())


def test_reasoning_is_not_held_back() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("<think>one ") == ("one ", "")
    assert splitter.feed("two <") == ("two ", "")
    assert splitter.feed("3</think>") == ("<3", "")
    assert splitter.is_open
    assert splitter.feed("four") == ("", "four")
    assert not splitter.is_open


def test_endless_blanks_are_an_answer() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed(" " * (MAX_BLANK + 1)) == ("", " " * (MAX_BLANK + 1))
    assert not splitter.is_open
