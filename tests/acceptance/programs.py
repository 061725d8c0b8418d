"""Runs a document's samples as programs of their own, against a running service.

Host and key take the place of the document's; nothing else changes. What is not on this machine is
skipped, with what to install: curl, Go, and npm for Node's `openai` package, which it downloads.
Node itself is in Playwright's wheel.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import playwright
import pytest

from tests.acceptance.services import Service
from tests.support import fresh_programs
from tests.support.forks import ROOT

SNIPPETS = Path(__file__).with_name("snippets")
HOSTS = {
    "weatmood": "https://weatmood.ru",
    "weryai": "https://api.weryai.com",
    "answira": "https://answira.ai",
    "zai": "https://api.z.ai",
    "glm5": "https://glm5.app",
}
PLACEHOLDERS = ("weatmood-YOUR_KEY", "YOUR_API_KEY", "your-api-key", "<token>", "sk-glm5-...")
# The documents' samples that take the key from the environment name it so.
KEY_VARIABLE = "GLM5_API_KEY"
NODE_PACKAGE = "openai@6.49.0"
NODE = shutil.which("node") or str(Path(playwright.__file__).parent / "driver" / "node")
NODE_FOLDER = ROOT / ".local" / "acceptance-node"
SECONDS = 120


def read(service: Service, name: str) -> str:
    """Return a snippet's text with this service's host and key."""
    text = (SNIPPETS / service.name / name).read_text().replace(HOSTS[service.name], service.url)
    for placeholder in PLACEHOLDERS:
        text = text.replace(placeholder, service.demo_key)
    return text


def read_json(service: Service, name: str) -> Any:
    """Return a request body that a document shows."""
    return json.loads(read(service, name))


def bash(service: Service, name: str) -> str:
    """Run a curl sample; return what curl prints, in silence as to its progress."""
    needs("curl", "curl")
    return _run(service, ["bash", "-euc", read(service, name).replace("curl ", "curl -sS ", 1)])


def curl(service: Service, name: str) -> Any:
    """Run a curl sample; return the JSON that it prints."""
    return json.loads(bash(service, name))


def python(service: Service, *names: str, then: str = "", stdin: str = "") -> str:
    """Run Python samples as one program, with `then` as its last lines; return its output."""
    text = "\n".join([*(read(service, name) for name in names), then])
    code, said, complained = fresh_programs.run(["-c", text], _environment(service), stdin)
    assert code == 0, said + complained
    return said


def node(service: Service, name: str, *, needs_openai: bool = True) -> str:
    """Run a JavaScript sample as an ES module; return its output."""
    if needs_openai:
        _install_openai()
    program = NODE_FOLDER / f"{uuid4().hex}.mjs"
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    program.write_text(read(service, name))
    try:
        return _run(service, [NODE, str(program)])
    finally:
        program.unlink()


def go(service: Service, name: str, folder: Path) -> str:
    """Compile and run a Go sample; return its output."""
    needs("go", "golang-go")
    program = folder / Path(name).name
    program.write_text(read(service, name))
    # Unoptimized: on a new machine it is Go's library that takes the time to compile.
    return _run(service, ["go", "run", "-gcflags=all=-N -l", "-ldflags=-s -w", str(program)])


def needs(program: str, package: str) -> None:
    """Skip the test where the program is absent, and say which package of Debian brings it."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} runs this sample and is not installed: apt-get install {package}")


def clean_environment() -> dict[str, str]:
    """Return our environment without an operator's own key and proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OPENAI_") and not name.lower().endswith("_proxy")
    }


def _environment(service: Service) -> dict[str, str]:
    own = {KEY_VARIABLE: service.demo_key, "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    return clean_environment() | own | {"CGO_ENABLED": "0"}


def _run(service: Service, command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(service),
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _install_openai() -> None:
    """Put Node's `openai` package where the programs find it, once for all runs."""
    if (NODE_FOLDER / "node_modules" / "openai").exists():
        return
    needs("npm", "npm")
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--prefix", str(NODE_FOLDER), "--no-audit", "--no-fund"]
    done = subprocess.run(
        [*command, "--no-save", "--fetch-retries=1", NODE_PACKAGE],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode != 0:
        pytest.skip(
            f"this sample imports {NODE_PACKAGE}, which npm cannot download here:"
            " give npm a registry that it reaches (npm config set registry URL)"
        )
