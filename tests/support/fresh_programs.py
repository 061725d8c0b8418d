"""Programs that each have an environment of their own, without the time of loading their libraries:
ours, and Python code such as the documentation's samples. Each loads our modules itself, since
they read the environment.
"""

import functools
import importlib
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.forks import ROOT, Forks, Started, serve

RUN_SECONDS = 120
# The functions of the programs' own scripts.
PROGRAMS = {"celery": ("celery.__main__", "main"), "gunicorn": ("gunicorn.app.wsgiapp", "run")}
# The modules that they load when they start.
LOADED = (
    *("celery.apps.worker", "celery.beat", "celery.bin.celery", "celery.worker.consumer"),
    *("celery.concurrency.thread", "kombu.transport.redis"),
    *("gunicorn.app.wsgiapp", "gunicorn.workers.gasgi", "uvloop"),
)
# Libraries that our modules load, except those that need settings.
_LIBRARIES = (
    *("django.contrib.postgres.fields", "django.core.handlers.asgi", "django.core.management"),
    *("django.db.backends.postgresql.base", "django.forms", "django.template.defaulttags"),
    *("django.test.client", "django.views.generic", "rest_framework.serializers"),
    *("argon2", "fido2.server", "httpx", "jsonschema", "msgspec", "psycopg_pool", "stripe"),
)


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    stdin: str = "",
    *,
    folder: Path = ROOT,
) -> tuple[int, str, str]:
    """Run one of `PROGRAMS`, a Python file or (after `-c`) Python code, with only this environment;
    return its exit code, its stdout and its stderr.

    It is killed after RUN_SECONDS.
    """
    order = _order(command, environment, folder) | {"seconds": RUN_SECONDS}
    return _forks().run(order, stdin)


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, folder: Path = ROOT
) -> Started:
    """Start a command as `run` does, its output appended to the log; it ends when we do."""
    return _forks().start(_order(command, environment, folder), log)


def call(command: Sequence[str]) -> None:
    """Run one of `PROGRAMS` in this process, with its arguments."""
    sys.argv = list(command)
    module, function = PROGRAMS[command[0]]
    getattr(importlib.import_module(module), function)()


@functools.cache
def _forks() -> Forks:
    return Forks("tests.support.fresh_programs", os.environ)


def _order(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> dict[str, Any]:
    return {"command": command, "environment": dict(environment), "folder": str(folder)}


def _run(order: dict[str, Any]) -> int:
    signal.alarm(order.get("seconds", 0))  # 0: no alarm
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    command = order["command"]
    if command[0] in PROGRAMS:
        call(command)
    elif command[0] == "-c":
        exec(compile(command[1], "<program>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")
    return 0


def _serve() -> None:
    from openai import OpenAI  # noqa: PLC0415 - loaded only in the process that is forked

    for name in LOADED + _LIBRARIES:
        importlib.import_module(name)
    assert OpenAI(api_key="none").chat.completions  # loaded on first use
    serve(_run)


if __name__ == "__main__":
    _serve()
