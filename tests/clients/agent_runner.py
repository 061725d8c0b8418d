"""A coding agent's run: its task over each upstream, and what it must be refused.

The task is laid out at the simulator (`PUT /turns/NAME`): read a file, edit it by a tool, run a
command, answer. An agent is started as its users start it in scripts, in a repository of its own
and with an environment that holds nothing of ours.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.clients.installs import Installation
from tests.clients.results import AgentResult, Refusal, Task
from tests.clients.service import MODELS, Bill, ClientsService

SECONDS = 180
BEFORE, AFTER = "price = 1\n", "price = 2\n"
ANSWER = "The price is 2 now."
COMMAND = "cat price.txt > seen.txt"
WRONG_KEY = "sk-tg-" + "0" * 40


@dataclass(frozen=True)
class Start:
    """What an agent is started with: the service's address, a key, a model, a prompt."""

    url: str
    key: str
    model: str
    prompt: str
    work: Path
    installation: Installation

    @property
    def home(self) -> Path:
        """The agent's home, beside the folder that it works in."""
        return self.work.parent / "home"

    @property
    def api(self) -> str:
        """The base URL of an SDK of OpenAI's."""
        return f"{self.url}/v1"

    def binary(self, name: str) -> str:
        """Return the path of a program of the installation."""
        return str(self.installation.binary(name))


@dataclass(frozen=True)
class Outcome:
    """What a run came to: what was printed, and the requests that were answered."""

    output: str
    work: Path
    requests: list[tuple[str, str, int]]


@dataclass(frozen=True)
class Agent:
    """One program. `launch` returns its command and its environment; `turns` lays the task out.

    `gives_up`: without credit it must end with its first request.
    """

    name: str
    package: str
    installs: str
    speaks: str
    launch: Callable[[Start], tuple[list[str], Mapping[str, str]]]
    turns: Callable[[Path], list[dict[str, Any]]]
    extras: Callable[["AgentRunner"], list[str]] | None = None
    gives_up: bool = False
    prompt: str = "Set the price in price.txt to 2."


class AgentRunner:
    """Runs one agent against a service, in folders below `box`."""

    def __init__(
        self, agent: Agent, service: ClientsService, installation: Installation, box: Path
    ) -> None:
        self.agent = agent
        self.service = service
        self._installation = installation
        self._box = box

    def run(self) -> AgentResult:
        """Run the task over each upstream, then what must be refused."""
        tasks = [self._task(dialect, model) for dialect, model in MODELS.items()]
        poor = self.service.open_customer(credit="0")
        notes = self.agent.extras(self) if self.agent.extras else []
        return AgentResult(
            name=self.agent.name,
            version=self._installation.version(self.agent.package),
            speaks=self.agent.speaks,
            tasks=tasks,
            no_credit=self._refusal(poor.key),
            wrong_key=self._refusal(WRONG_KEY),
            notes=notes,
            gives_up=self.agent.gives_up,
        )

    def start(self, key: str, model: str, prompt: str, work: Path | None = None) -> Outcome:
        """Run the agent once, in a new folder unless one is given."""
        work = work or self._new_folder()
        start = Start(self.service.url, key, model, prompt, work, self._installation)
        command, own = self.agent.launch(start)
        mark = self.service.access_mark()
        output = run_program(command, work, {"HOME": str(start.home), **own})
        (start.home / "output.txt").write_text(output)
        return Outcome(output, work, self.service.requests_since(mark))

    def _new_folder(self) -> Path:
        """Return a new folder to work in, with the file of the task, beside a new home."""
        box = self._box / uuid4().hex[:8]
        (box / "home").mkdir(parents=True)
        work = box / "work"
        work.mkdir()
        (work / "price.txt").write_text(BEFORE)
        # A repository of its own, or agents take the one around it for theirs.
        subprocess.run(["git", "init", "-q", str(work)], check=True)
        return work

    def _task(self, dialect: str, model: str) -> Task:
        customer = self.service.open_customer()
        work = self._new_folder()
        plan = f"task-{uuid4().hex[:8]}"
        self.service.put_turns(plan, self.agent.turns(work / "price.txt"))
        prompt = f"{self.agent.prompt} <simulate>turns={plan}</simulate>"
        outcome = self.start(customer.key, model, prompt, work)
        bill = self.service.bill(customer)
        return Task(dialect, bill, list(_problems(outcome, bill)), outcome.output)

    def _refusal(self, key: str) -> Refusal:
        outcome = self.start(key, MODELS["chat completions"], self.agent.prompt)
        statuses = [status for method, _path, status in outcome.requests if method == "POST"]
        return Refusal(statuses, outcome.output)


def _problems(outcome: Outcome, bill: Bill) -> Iterator[str]:
    """Yield what is wrong with a task that should be done."""
    if (outcome.work / "price.txt").read_text() != AFTER:
        yield "the file is not edited"
    seen = outcome.work / "seen.txt"
    if not seen.exists() or seen.read_text() != AFTER:
        yield "the command has not run"
    if ANSWER not in outcome.output:
        yield "no answer"
    for method, path, status in outcome.requests:
        if method == "POST" and status >= 400:
            yield f"{path} was answered with {status}"
    if not bill.requests:
        yield "nothing was asked"
    if not bill.agrees:
        yield f"charged {bill.charged_nanos} nanos, the journal says {bill.expected_nanos}"


def run_program(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a program with this environment alone; return what it prints."""
    node = Path(shutil.which("node") or "/usr/bin/node").parent
    own = {"PATH": os.pathsep.join((str(node), "/usr/bin", "/bin")), "TERM": "dumb"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        text = error.stdout or b""
        return f"{text.decode(errors='replace')}\nended after {SECONDS} s"
    return done.stdout
