"""The rows of `make faults`: a pytest plugin that runs named scenarios and ends with a table.

`make faults` loads it (`-p tests.faults.rows`); tests say with `pytest.mark.row(name, fault)` which
row they belong to. `make test` runs the tests without it.
"""

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

# Seconds from each fault's end until the service was whole again, since they were last taken.
_recoveries: list[float] = []


@contextmanager
def recovery() -> Iterator[None]:
    """Time what a test waits for after a fault, until the service is as it was before."""
    began_at = time.monotonic()
    yield
    _recoveries.append(time.monotonic() - began_at)


def row_of(item: pytest.Item) -> tuple[str, str]:
    """Return the name and the fault of a test's row. Raise UsageError where it has none."""
    mark = item.get_closest_marker("row")
    if mark is None:
        raise pytest.UsageError(f"{item.nodeid} belongs to no row: mark it with pytest.mark.row")
    name, fault = mark.args
    return name, fault


def is_last(item: pytest.Item) -> bool:
    """Return whether the test that runs next belongs to another row, or to none."""
    items = item.session.items
    following = items[items.index(item) + 1 :][:1]
    mark = following[0].get_closest_marker("row") if following else None
    return mark is None or mark.args != row_of(item)


@dataclass
class Row:
    """What became of a row's tests."""

    fault: str
    runs: int = 0
    failed: set[str] = field(default_factory=set)
    lost_nanos: int | None = None
    recoveries: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Return the row as a line of the table."""
        lost = "unknown" if self.lost_nanos is None else str(self.lost_nanos)
        slowest = f"{max(self.recoveries):.1f}" if self.recoveries else "-"
        held = f"{self.runs - len(self.failed)}"
        return f"| {name} | {self.fault} | {self.runs} | {held} | {lost} | {slowest} |"


_rows: dict[str, Row] = {}


def note_loss(item: pytest.Item, nanos: int) -> None:
    """Keep how many nano-dollars were found lost after a row's last test."""
    name, fault = row_of(item)
    _rows.setdefault(name, Row(fault)).lost_nanos = nanos


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make faults` passes on."""
    group = parser.getgroup("faults")
    group.addoption("--row", default="", help="run this row alone")
    group.addoption("--seed", default="", help="replay the chaos of a run that printed this seed")
    group.addoption("--minutes", default="", help="how long the chaos lasts (default: 1)")


def pytest_configure(config: pytest.Config) -> None:
    """Hand the chaos its seed and its length."""
    if seed := config.getoption("--seed"):
        os.environ["CHAOS_SEED"] = seed
    if minutes := config.getoption("--minutes"):
        os.environ["CHAOS_SECONDS"] = str(float(minutes) * 60)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the asked row's tests, each row's in a row. Raise UsageError where there is none."""
    names = dict.fromkeys(row_of(item)[0] for item in items)
    wanted = config.getoption("--row")
    if wanted and wanted not in names:
        raise pytest.UsageError(f"There is no row {wanted!r}: there are {', '.join(names)}.")
    order = list(names)
    kept = [item for item in items if wanted in ("", row_of(item)[0])]
    dropped = [item for item in items if item not in kept]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = sorted(kept, key=lambda item: order.index(row_of(item)[0]))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, None]:
    """Count each test once, whichever of its phases failed."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    name, fault = row_of(item)
    row = _rows.setdefault(name, Row(fault))
    if report.skipped:
        row.runs -= report.when == "call"
        return
    row.runs += report.when == "setup"
    if report.failed:
        row.failed.add(item.nodeid)
    row.recoveries += _recoveries
    _recoveries.clear()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    terminalreporter.section("faults")
    for text in (
        "| row | fault | runs | held | nano-dollars lost | slowest recovery, s |",
        "|---|---|---|---|---|---|",
        *(row.line(name) for name, row in _rows.items()),
    ):
        terminalreporter.write_line(text)
