"""The tables of `platform/docs/clients.md`, written between two markers."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.clients.libraries import CASES
from tests.clients.results import AgentResult, LibraryResult, NotRun, Refusal, Result
from tests.clients.service import NANOS_PER_DOLLAR
from tests.support.forks import ROOT

PAGE = ROOT / "platform" / "docs" / "clients.md"
TASK_HEADS = (
    *("program", "calls", "upstream speaks", "task"),
    *("requests", "input tokens", "output tokens", "charged"),
)
BEGIN, END = "<!-- begin: written by make clients -->", "<!-- end -->"


def render(kept: Iterable[Result]) -> str:
    """Return the tables of the newest run of each program."""
    results = list(kept)
    days = sorted({f"{each.ran_on}" for each in results})
    agents = [each for each in results if isinstance(each, AgentResult)]
    libraries = [each for each in results if isinstance(each, LibraryResult)]
    missing = [each for each in results if isinstance(each, NotRun)]
    problems = [problem for each in results for problem in each.problems()]
    lines = [f"Run on {', '.join(days)}.", "", "### Coding agents", ""]
    lines += _table(
        TASK_HEADS,
        (row for agent in agents for row in _task_rows(agent)),
    )
    lines += ["", "### Refusals", ""]
    lines += _table(
        ("program", "no credit", "wrong key", "notes"),
        (_refusal_row(agent) for agent in agents),
    )
    lines += ["", "### SDKs and frameworks", ""]
    lines += _table(
        ("program", "calls", *CASES, "requests", "charged"),
        (_library_row(library) for library in libraries),
    )
    if missing:
        lines += ["", "Not run:", ""]
        lines += [f"- {each.name} ({each.speaks}): {each.reason}" for each in missing]
    if problems:
        lines += ["", "Failed:", "", *(f"- {problem}" for problem in problems)]
    return "\n".join(lines) + "\n"


def write(text: str, page: Path = PAGE) -> None:
    """Put the text between the page's markers. Raise ValueError where it has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(heads)
    yield _row(["---"] * len(heads))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _task_rows(agent: AgentResult) -> Iterator[Sequence[str]]:
    for task in agent.tasks:
        bill = task.bill
        yield (
            f"{agent.name} {agent.version}",
            agent.speaks,
            task.upstream,
            "failed" if task.problems else "done",
            f"{bill.requests:,}",
            f"{bill.input_tokens:,}",
            f"{bill.output_tokens:,}",
            _dollars(bill.charged_nanos),
        )


def _refusal_row(agent: AgentResult) -> Sequence[str]:
    cells = (_refused(agent.no_credit), _refused(agent.wrong_key))
    return (agent.name, *cells, "; ".join(agent.notes))


def _refused(refusal: Refusal) -> str:
    statuses = "/".join(str(status) for status in sorted(set(refusal.statuses)))
    count = len(refusal.statuses)
    return f"{statuses}, {count} {'request' if count == 1 else 'requests'}"


def _library_row(library: LibraryResult) -> Sequence[str]:
    cells = []
    for case in CASES:
        problems = [run.cases[case] for run in library.runs if case in run.cases]
        cells.append(f"{problems.count('')}/{len(problems)}" if problems else "")
    charged_nanos = sum(run.bill.charged_nanos for run in library.runs)
    return (
        f"{library.name} {library.version}",
        library.speaks,
        *cells,
        f"{sum(run.bill.requests for run in library.runs):,}",
        _dollars(charged_nanos),
    )


def _dollars(nanos: int) -> str:
    """Return an amount to the last nano-dollar."""
    return f"${nanos // NANOS_PER_DOLLAR}.{nanos % NANOS_PER_DOLLAR:09}"
