"""The security page says something of every requirement of ASVS 5.0, levels 1 and 2."""

import re
from collections import Counter

import pytest

from tests.support.forks import ROOT

TEXT = (ROOT / "platform/docs/security.md").read_text()
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (.+?) \| (.+?) \|$", TEXT, re.MULTILINE)
# The standard's numbers: chapter, section, requirements.
REQUIREMENTS = """
1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2 2.1.1-3 2.2.1-3 2.3.1-4 2.4.1-1 3.2.1-2 3.3.1-4 3.4.1-6
3.5.1-5 3.7.1-2 4.1.1-3 4.2.1-1 4.3.1-2 4.4.1-4 5.1.1-1 5.2.1-3 5.3.1-2 5.4.1-3 6.1.1-3 6.2.1-12
6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3 6.8.1-4 7.1.1-3 7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-2 7.6.1-2 8.1.1-2
8.2.1-3 8.3.1-1 8.4.1-1 9.1.1-3 9.2.1-4 10.1.1-2 10.2.1-2 10.3.1-4 10.4.1-11 10.5.1-5 10.6.1-2
10.7.1-3 11.1.1-2 11.2.1-3 11.3.1-3 11.4.1-4 11.5.1-1 11.6.1-1 12.1.1-3 12.2.1-2 12.3.1-4 13.1.1-1
13.2.1-5 13.3.1-2 13.4.1-5 14.1.1-2 14.2.1-4 14.3.1-3 15.1.1-3 15.2.1-3 15.3.1-7 16.1.1-1 16.2.1-5
16.3.1-4 16.4.1-3 16.5.1-3 17.1.1-1 17.2.1-4 17.3.1-2
"""


def required() -> list[str]:
    """Return the numbers of all requirements."""
    found = []
    for section in REQUIREMENTS.split():
        stem, _, numbers = section.rpartition(".")
        first, last = map(int, numbers.split("-"))
        found += [f"{stem}.{number}" for number in range(first, last + 1)]
    return found


def test_every_requirement_has_one_row() -> None:
    assert [number for number, *_ in ROWS] == required()
    assert len(ROWS) == 253


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_says_where_why_or_what_it_takes(row: tuple[str, str, str, str]) -> None:
    _number, _what, state, reason = row
    assert state in {"met", "n/a", "not met"}
    assert reason.strip()
    if state == "not met":
        assert re.search(r"\btakes\b|^as \d|^offered", reason) or "without" in reason


def test_the_files_it_names_exist() -> None:
    names = set(re.findall(r"`((?:accounts|api|billing|platform|templates|tests)/[^` ]+)`", TEXT))
    assert len(names) > 40
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_the_states_are_counted_in_public() -> None:
    counted = Counter(state for _, _, state, _ in ROWS)
    stated = re.search(r"(\d+) met, (\d+) not applicable, (\d+) not met", TEXT)
    assert stated is not None
    assert [int(each) for each in stated.groups()] == [
        counted["met"],
        counted["n/a"],
        counted["not met"],
    ]
