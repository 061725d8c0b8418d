"""Where the programs are: a folder of their own, with every version pinned.

Python's are each in an environment of their own, as their requirements exclude each other; Node's
share one; Go's is compiled. A version that is there already is not installed again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.forks import ROOT

FOLDER = Path(os.environ.get("CLIENTS_DIR") or ROOT / ".local" / "clients").resolve()
SECONDS = 900

NODE = {
    "@anthropic-ai/claude-code": "2.1.332",
    "@openai/codex": "0.171.0",
    "@qwen-code/qwen-code": "0.24.4",
    "opencode-ai": "1.18.33",
    "openai": "7.59.0",
    "@anthropic-ai/sdk": "1.14.0",
    "ai": "7.0.173",
    "@ai-sdk/anthropic": "4.0.105",
    "@ai-sdk/openai": "4.0.118",
    "@ai-sdk/openai-compatible": "3.0.92",
    "zod": "4.6.7",
}
# The environments of Python, by name, and what each holds.
PYTHON = {
    "openai": {"openai": "3.57.0"},
    "anthropic": {"anthropic": "2.14.0"},
    "langchain": {
        "langchain": "1.5.2",
        "langchain-openai": "1.7.4",
        "langchain-anthropic": "1.7.10",
    },
    "llamaindex": {
        "llama-index-core": "0.14.25",
        "llama-index-llms-openai-like": "0.8.1",
        "llama-index-embeddings-openai": "0.7.0",
    },
    "litellm": {"litellm": "1.110.2"},
    "instructor": {"instructor": "1.17.0", "anthropic": "2.14.0"},
    "pydantic-ai": {"pydantic-ai-slim[anthropic,openai]": "2.68.0"},
    "agents": {"openai-agents": "0.24.0"},
    "zai": {"zai-sdk": "0.2.3"},
    "llm": {"llm": "0.36"},
    "aider": {"aider-chat": "0.86.2"},
}
GO = {"github.com/sashabaranov/go-openai": "v1.43.0"}


class NotInstalledError(Exception):
    """A program that cannot be installed here; the text says why."""


@dataclass(frozen=True)
class Installation:
    """A folder with programs, and the versions of its packages."""

    folder: Path
    programs: Path
    versions: dict[str, str]

    def binary(self, name: str) -> Path:
        """Return where a program is."""
        return self.programs / name

    def version(self, package: str) -> str:
        """Return the version of a package, without extras in its name."""
        (found,) = (
            version for name, version in self.versions.items() if name.partition("[")[0] == package
        )
        return found


def install(name: str) -> Installation:
    """Return the installation "node", "go", or one of PYTHON's, made where it is not there.

    Raise NotInstalledError where a tool is missing or a package cannot be had.
    """
    match name:
        case "node":
            return _node()
        case "go":
            return _go()
        case _:
            return _python(name)


def _node() -> Installation:
    folder = FOLDER / "node"
    if not _is_made(folder, NODE):
        npm = _tool("npm", "Node.js 20 or later")
        folder.mkdir(parents=True, exist_ok=True)
        packages = [f"{name}@{version}" for name, version in NODE.items()]
        options = ["--no-audit", "--no-fund", "--save-exact", "--prefix", str(folder)]
        _run([npm, "install", *options, *packages])
        _mark_made(folder, NODE)
    return Installation(folder, folder / "node_modules" / ".bin", NODE)


def _python(name: str) -> Installation:
    folder, packages = FOLDER / "python" / name, PYTHON[name]
    if not _is_made(folder, packages):
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        pins = [f"{package}=={version}" for package, version in packages.items()]
        python = str(folder / "bin" / "python")
        if uv := shutil.which("uv"):
            _run([uv, "pip", "install", "-q", "--python", python, *pins])
        else:
            _run([python, "-m", "pip", "install", "-q", *pins])
        _mark_made(folder, packages)
    return Installation(folder, folder / "bin", packages)


def _go() -> Installation:
    _tool("go", "a Go toolchain")
    folder = FOLDER / "go"
    folder.mkdir(parents=True, exist_ok=True)
    return Installation(folder, folder, GO)


def compile_go(installation: Installation, source: Path) -> Path:
    """Return a compiled program of Go, whose modules are the pinned ones.

    Raise NotInstalledError where it does not compile or a module cannot be had.
    """
    folder = installation.folder
    shutil.copy(source, folder / "main.go")
    (folder / "go.mod").unlink(missing_ok=True)
    _run(["go", "mod", "init", "clients"], folder)
    for module, version in GO.items():
        _run(["go", "get", f"{module}@{version}"], folder)
    _run(["go", "build", "-o", "program", "main.go"], folder)
    return folder / "program"


def _tool(name: str, wanted: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NotInstalledError(f"{wanted} is needed")
    return path


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode != 0:
        raise NotInstalledError((done.stderr or done.stdout).strip()[-500:])


def _digest(packages: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()


def _is_made(folder: Path, packages: dict[str, str]) -> bool:
    mark = folder / "installed"
    return mark.exists() and mark.read_text() == _digest(packages)


def _mark_made(folder: Path, packages: dict[str, str]) -> None:
    (folder / "installed").write_text(_digest(packages))
