"""The libraries: programs in `scripts/` that use an SDK or a framework as its users do.

Each is run once for every dialect that an upstream may speak. It prints a line of JSON for each of
its cases; of the case that leaves a stream in the middle, the service's side is looked at here.
"""

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.clients.installs import Installation, compile_go
from tests.clients.results import LibraryResult, LibraryRun
from tests.clients.service import EMBEDDING_MODEL, MODELS, ClientsService

SCRIPTS = Path(__file__).with_name("scripts")
SECONDS = 240
_TOO_LONG = subprocess.TimeoutExpired
CASES = ("models", "chat", "stream", "tools", "schema", "error", "cancel", "embeddings")


@dataclass(frozen=True)
class Library:
    """A library and the program that uses it. `speaks` is the dialect it calls us in."""

    name: str
    package: str
    installs: str
    speaks: str
    script: str


LIBRARIES = [
    Library("OpenAI Python", "openai", "openai", "chat completions", "openai_chat.py"),
    Library("OpenAI Python", "openai", "openai", "Responses", "openai_responses.py"),
    Library("Anthropic Python", "anthropic", "anthropic", "Messages", "anthropic_messages.py"),
    Library("OpenAI Node", "openai", "node", "chat completions", "openai_chat.mjs"),
    Library("OpenAI Node", "openai", "node", "Responses", "openai_responses.mjs"),
    Library("Anthropic Node", "@anthropic-ai/sdk", "node", "Messages", "anthropic_messages.mjs"),
    Library("Vercel AI SDK, openai", "@ai-sdk/openai", "node", "Responses", "vercel_openai.mjs"),
    Library(
        "Vercel AI SDK, openai-compatible",
        "@ai-sdk/openai-compatible",
        "node",
        "chat completions",
        "vercel_compatible.mjs",
    ),
    Library(
        "Vercel AI SDK, anthropic", "@ai-sdk/anthropic", "node", "Messages", "vercel_anthropic.mjs"
    ),
    Library(
        "LangChain, langchain-openai",
        "langchain-openai",
        "langchain",
        "chat completions",
        "langchain_openai_chat.py",
    ),
    Library(
        "LangChain, langchain-anthropic",
        "langchain-anthropic",
        "langchain",
        "Messages",
        "langchain_anthropic_messages.py",
    ),
    Library(
        "LlamaIndex",
        "llama-index-llms-openai-like",
        "llamaindex",
        "chat completions",
        "llamaindex_chat.py",
    ),
    Library("LiteLLM", "litellm", "litellm", "chat completions", "litellm_openai.py"),
    Library("Instructor", "instructor", "instructor", "chat completions", "instructor_openai.py"),
    Library("Instructor", "instructor", "instructor", "Messages", "instructor_anthropic.py"),
    Library(
        "Pydantic AI", "pydantic-ai-slim", "pydantic-ai", "chat completions", "pydantic_ai_chat.py"
    ),
    Library(
        "Pydantic AI", "pydantic-ai-slim", "pydantic-ai", "Responses", "pydantic_ai_responses.py"
    ),
    Library(
        "Pydantic AI", "pydantic-ai-slim", "pydantic-ai", "Messages", "pydantic_ai_messages.py"
    ),
    Library("OpenAI Agents SDK", "openai-agents", "agents", "Responses", "openai_agents.py"),
    Library("Z.AI SDK", "zai-sdk", "zai", "chat completions", "zai_chat.py"),
    Library("llm", "llm", "llm", "chat completions", "llm_program.py"),
    Library(
        "go-openai", "github.com/sashabaranov/go-openai", "go", "chat completions", "go_openai.go"
    ),
]


def run_library(
    library: Library, service: ClientsService, installation: Installation, box: Path
) -> LibraryResult:
    """Run a library's program over each upstream. Raise NotInstalledError (Go alone)."""
    command = _command(library, installation)
    runs = []
    for upstream, model in MODELS.items():
        folder = box / model
        folder.mkdir(parents=True)
        runs.append(_run_over(upstream, command, service, folder))
    version = installation.version(library.package)
    return LibraryResult(library.name, version, library.speaks, runs)


def _run_over(
    upstream: str, command: list[str], service: ClientsService, folder: Path
) -> LibraryRun:
    customer = service.open_customer()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TOLLGATE_URL": service.url,
        "TOLLGATE_KEY": customer.key,
        "TOLLGATE_MODEL": MODELS[upstream],
        "TOLLGATE_EMBEDDING_MODEL": EMBEDDING_MODEL,
    }
    output, errors = folder / "output.txt", folder / "errors.txt"
    with output.open("w") as out, errors.open("w") as err, contextlib.suppress(_TOO_LONG):
        subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            check=False,
            timeout=SECONDS,
        )
    cases = _read_cases(output.read_text())
    if not cases:
        cases = {"chat": errors.read_text().strip()[-300:] or "the program printed nothing"}
    bill = service.bill(customer)
    if cases.get("cancel") == "" and bill.left != 1:
        cases["cancel"] = "the upstream was not left, or more was charged than it had sent"
    return LibraryRun(upstream, cases, bill)


def _read_cases(output: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in output.splitlines():
        if line.startswith('{"case"'):
            result = json.loads(line)
            found[result["case"]] = result["problem"]
    return found


def _command(library: Library, installation: Installation) -> list[str]:
    """Return what runs the program, which stands where its language looks for packages."""
    script = SCRIPTS / library.script
    match script.suffix:
        case ".mjs":
            for each in SCRIPTS.glob("*.mjs"):
                shutil.copy(each, installation.folder)
            return ["node", str(installation.folder / library.script)]
        case ".go":
            return [str(compile_go(installation, script))]
        case _:
            return [str(installation.binary("python")), str(script)]
