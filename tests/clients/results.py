"""What a run of a program came to."""

from dataclasses import dataclass, field

from tests.clients.service import Bill


@dataclass(frozen=True)
class Task:
    """An agent's task over an upstream of one dialect: whole where there are no `problems`."""

    upstream: str
    bill: Bill
    problems: list[str]
    output: str = ""


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


@dataclass(frozen=True)
class LibraryResult:
    """What a library's program did over one upstream: "" or the problem, for each of its cases."""

    name: str
    package: str
    version: str
    speaks: str
    upstream: str
    cases: dict[str, str]
    bill: Bill
