"""Python programs that use OpenAI's SDK, each a process of its own, which finds it loaded."""

import functools
import os
import signal
from typing import Any

from tests.support.forks import Forks, serve

SECONDS = 120


def run_python(
    text: str, environment: dict[str, str], stdin: str = "", *, folder: str = ""
) -> tuple[int, str, str]:
    """Run a program with this environment; return its exit code, its stdout and its stderr.

    It is killed after two minutes.
    """
    return _forks().run({"text": text, "environment": environment, "folder": folder}, stdin)


@functools.cache
def _forks() -> Forks:
    return Forks("tests.support.python_programs", os.environ)


def _run(order: dict[str, Any]) -> int:
    signal.alarm(SECONDS)
    os.environ.clear()
    os.environ.update(order["environment"])
    if order["folder"]:
        os.chdir(order["folder"])
    exec(compile(order["text"], "<program>", "exec"), {"__name__": "__main__"})
    return 0


def _serve() -> None:
    from openai import OpenAI  # noqa: PLC0415 - who only asks need not load it

    assert OpenAI(api_key="none").chat.completions  # loaded with its first use
    serve(_run)


if __name__ == "__main__":
    _serve()
