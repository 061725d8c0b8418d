"""What the runs of the programs came to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from tests.clients.service import Bill


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class Task:
    """An agent's task over an upstream of one dialect: done where there are no `problems`."""

    upstream: str
    bill: Bill
    problems: list[str]
    output: str


@dataclass(frozen=True)
class Refusal:
    """What an agent made of a refusal: the status of each of its requests, and its output."""

    statuses: list[int]
    output: str


@dataclass(frozen=True)
class AgentResult:
    """What a coding agent did over each upstream, and when it was refused."""

    name: str
    version: str
    speaks: str
    tasks: list[Task]
    no_credit: Refusal
    wrong_key: Refusal
    notes: list[str] = field(default_factory=list)
    gives_up: bool = False
    ran_on: date = field(default_factory=_today)

    def problems(self) -> Iterator[str]:
        """Yield a line for each thing that went wrong."""
        for task in self.tasks:
            for problem in task.problems:
                yield f"{self.name} over {task.upstream}: {problem}"
        for what, refusal, expected in (
            ("no credit", self.no_credit, {402, 429}),
            ("a wrong key", self.wrong_key, {401}),
        ):
            if not refusal.statuses or not set(refusal.statuses) <= expected:
                yield f"{self.name} with {what}: answered with {refusal.statuses}"
        if self.gives_up and len(self.no_credit.statuses) != 1:
            yield f"{self.name} without credit asked {len(self.no_credit.statuses)} times"


@dataclass(frozen=True)
class LibraryRun:
    """A library's program over one upstream: "" or the problem for each of its cases."""

    upstream: str
    cases: dict[str, str]
    bill: Bill


@dataclass(frozen=True)
class LibraryResult:
    """What a library's program did over each upstream."""

    name: str
    version: str
    speaks: str
    runs: list[LibraryRun]
    ran_on: date = field(default_factory=_today)

    def problems(self) -> Iterator[str]:
        """Yield a line for each thing that went wrong."""
        for run in self.runs:
            place = f"{self.name}, {self.speaks}, over {run.upstream}"
            for case, problem in run.cases.items():
                if problem:
                    yield f"{place}: {case}: {' '.join(problem.split())[:300]}"
            if not run.bill.agrees:
                charged, expected = run.bill.charged_nanos, run.bill.expected_nanos
                yield f"{place}: charged {charged} nanos, the journal says {expected}"


@dataclass(frozen=True)
class NotRun:
    """A program that could not be installed here, and why."""

    name: str
    speaks: str
    reason: str
    ran_on: date = field(default_factory=_today)

    def problems(self) -> Iterator[str]:
        """Yield nothing: a missing tool is no fault."""
        yield from ()


Result = AgentResult | LibraryResult | NotRun
