"""The coding agents: command-line programs that complete a task in a folder of their own.

The task is laid out at the simulator (`PUT /turns/NAME`): read a file, edit it by a tool, run a
command, answer. Each agent is started as its users start it in scripts, with an environment that
holds nothing of ours.
"""

import json
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
    """One program. `launch` returns its command and its environment; `turns` lays the task out."""

    name: str
    package: str
    installs: str
    speaks: str
    launch: Callable[[Start], tuple[list[str], Mapping[str, str]]]
    turns: Callable[[Path], list[dict[str, Any]]]
    extras: Callable[["AgentRunner"], list[str]] | None = None
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


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """Return a tool call of a turn."""
    return {"name": name, "input": arguments}


def task(*calls: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the turns that make one call each and then answer."""
    return [
        *({"text": "One moment.", "calls": [each]} for each in calls),
        {"text": ANSWER},
    ]


# Claude Code


def _launch_claude(start: Start) -> tuple[list[str], Mapping[str, str]]:
    command = [start.binary("claude"), "-p", start.prompt, "--model", start.model]
    command += ["--allowedTools", "Read,Edit,Bash"]
    return command, {
        "ANTHROPIC_BASE_URL": start.url,
        "ANTHROPIC_AUTH_TOKEN": start.key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "DISABLE_AUTOUPDATER": "1",
    }


def _claude_turns(file: Path) -> list[dict[str, Any]]:
    edit = {"file_path": str(file), "old_string": "price = 1", "new_string": "price = 2"}
    return task(
        call("Read", file_path=str(file)), call("Edit", **edit), call("Bash", command=COMMAND)
    )


def _claude_extras(runner: AgentRunner) -> list[str]:
    """Ask for a count of tokens, which is free."""
    customer = runner.service.open_customer()
    model = MODELS["Messages"]
    outcome = runner.start(customer.key, model, "/context")
    counted = [
        status for _method, path, status in outcome.requests if path.endswith("/count_tokens")
    ]
    bill = runner.service.bill(customer)
    note = f"`/context`: {counted.count(200)} of {len(counted)} token counts answered"
    return [f"{note}, {bill.charged_nanos} nano-dollars charged"]


# Codex


def _launch_codex(start: Start) -> tuple[list[str], Mapping[str, str]]:
    return _start_codex(start, 'env_key = "TOLLGATE_KEY"'), {"TOLLGATE_KEY": start.key}


def _launch_codex_with_models(start: Start) -> tuple[list[str], Mapping[str, str]]:
    """Codex reads the models list where the key comes from a command."""
    table = f'[model_providers.tollgate.auth]\ncommand = "echo"\nargs = ["{start.key}"]'
    return _start_codex(start, table), {}


def _start_codex(start: Start, credentials: str) -> list[str]:
    lines = [
        f'model = "{start.model}"',
        'model_provider = "tollgate"',
        "[model_providers.tollgate]",
        'name = "Tollgate"',
        f'base_url = "{start.api}"',
        'wire_api = "responses"',
        credentials,
    ]
    folder = start.home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text("\n".join(lines) + "\n")
    command = [start.binary("codex"), "exec", "--skip-git-repo-check"]
    return [*command, "--dangerously-bypass-approvals-and-sandbox", start.prompt]


PATCH = """\
*** Begin Patch
*** Update File: {file}
@@
-price = 1
+price = 2
*** End Patch
"""


def _codex_turns(file: Path) -> list[dict[str, Any]]:
    patch = f"apply_patch <<'EOF'\n{PATCH.format(file=file.name)}EOF\n"
    return task(
        call("exec_command", cmd=f"cat {file.name}"),
        call("exec_command", cmd=patch),
        call("exec_command", cmd=COMMAND),
    )


def _codex_turns_with_models(file: Path) -> list[dict[str, Any]]:
    return task(
        call("exec_command", cmd=f"cat {file.name}"),
        {"name": "apply_patch", "input": PATCH.format(file=file.name)},
        call("exec_command", cmd=COMMAND),
    )


# opencode


def _launch_opencode(start: Start) -> tuple[list[str], Mapping[str, str]]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Tollgate",
        "options": {"baseURL": start.api, "apiKey": start.key},
        "models": {start.model: {"name": start.model}},
    }
    config = {"provider": {"tollgate": provider}, "autoupdate": False, "share": "disabled"}
    (start.work / "opencode.json").write_text(json.dumps(config))
    command = [start.binary("opencode"), "run", "-m", f"tollgate/{start.model}", start.prompt]
    return command, {"OPENCODE_DISABLE_MODELS_FETCH": "1"}


def _opencode_turns(file: Path) -> list[dict[str, Any]]:
    edit = {"filePath": str(file), "oldString": "price = 1", "newString": "price = 2"}
    return task(
        call("read", filePath=str(file)),
        call("edit", **edit),
        call("bash", command=COMMAND, description="Show the price"),
    )


# Qwen Code


def _launch_qwen(start: Start) -> tuple[list[str], Mapping[str, str]]:
    command = [start.binary("qwen"), "--auth-type", "openai", "--yolo", "-p", start.prompt]
    return command, {
        "OPENAI_BASE_URL": start.api,
        "OPENAI_API_KEY": start.key,
        "OPENAI_MODEL": start.model,
    }


def _qwen_turns(file: Path) -> list[dict[str, Any]]:
    edit = {"file_path": str(file), "old_string": "price = 1", "new_string": "price = 2"}
    return task(
        call("read_file", file_path=str(file)),
        call("edit", **edit),
        call("run_shell_command", command=COMMAND, is_background=False),
    )


# aider, which has no tools: edits stand in the answer, and the command is its test command.

BLOCK = """\
price.txt
```
<<<<<<< SEARCH
price = 1
=======
price = 2
>>>>>>> REPLACE
```

"""


def _launch_aider(start: Start) -> tuple[list[str], Mapping[str, str]]:
    command = [start.binary("aider"), "--model", f"openai/{start.model}", "--no-git"]
    command += ["--edit-format", "diff", "--yes-always", "--no-check-update", "--no-pretty"]
    command += ["--no-show-model-warnings", "--analytics-disable", "--no-show-release-notes"]
    command += ["--auto-test", "--test-cmd", COMMAND, "--message", start.prompt, "price.txt"]
    return command, {"OPENAI_API_BASE": start.api, "OPENAI_API_KEY": start.key}


def _aider_turns(_file: Path) -> list[dict[str, Any]]:
    return [{"text": BLOCK + ANSWER}]


AGENTS = [
    Agent(
        "Claude Code",
        "@anthropic-ai/claude-code",
        "node",
        "Messages",
        _launch_claude,
        _claude_turns,
        _claude_extras,
    ),
    Agent("Codex CLI", "@openai/codex", "node", "Responses", _launch_codex, _codex_turns),
    Agent(
        "Codex CLI, which reads the models list",
        "@openai/codex",
        "node",
        "Responses",
        _launch_codex_with_models,
        _codex_turns_with_models,
    ),
    Agent("opencode", "opencode-ai", "node", "chat completions", _launch_opencode, _opencode_turns),
    Agent(
        "Qwen Code", "@qwen-code/qwen-code", "node", "chat completions", _launch_qwen, _qwen_turns
    ),
    Agent("aider", "aider-chat", "aider", "chat completions", _launch_aider, _aider_turns),
]
