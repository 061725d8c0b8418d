"""The coding agents: how each is set up and started, and how its tools are called."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.clients.agent_runner import ANSWER, COMMAND, Agent, AgentRunner, Start
from tests.clients.service import MODELS


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


# aider has no tools: the answer contains its edits, and its test command runs the command.

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
    # Without these it writes its history to the root of the repository that it finds itself in.
    for kind in ("chat", "input"):
        command += [f"--{kind}-history-file", f"../aider.{kind}.history"]
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
        gives_up=True,
    ),
    Agent(
        "Codex CLI",
        "@openai/codex",
        "node",
        "Responses",
        _launch_codex,
        _codex_turns,
        gives_up=True,
    ),
    Agent(
        "Codex CLI, which reads the models list",
        "@openai/codex",
        "node",
        "Responses",
        _launch_codex_with_models,
        _codex_turns_with_models,
        gives_up=True,
    ),
    Agent("opencode", "opencode-ai", "node", "chat completions", _launch_opencode, _opencode_turns),
    Agent(
        "Qwen Code", "@qwen-code/qwen-code", "node", "chat completions", _launch_qwen, _qwen_turns
    ),
    Agent("aider", "aider-chat", "aider", "chat completions", _launch_aider, _aider_turns),
]
