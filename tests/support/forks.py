"""Programs without a start of Python for each: one process has loaded what they need, and is forked
for every one of them.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.launch import end_with_parent

ROOT = Path(__file__).resolve().parents[2]


class Forks:
    """Runs what a module serves (`serve`), one after the other. It ends when we do.

    The process is started at once and made ready beside whatever comes next.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: Any, stdin: str = "") -> tuple[int, str, str]:
        """Run what the order asks for; return its exit code, its stdout and its stderr."""
        code, said, complained = self._answer_to(order, stdin, "")
        return code, said, complained

    def start(self, order: Any, log: Path) -> "Started":
        """Start what the order asks for and let it run, its output appended to the log."""
        return Started(self._answer_to(order, "", str(log)))

    def _answer_to(self, *order: Any) -> Any:
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        pipe.write(json.dumps(order) + "\n")
        pipe.flush()
        answer = answers.readline()
        assert answer, "the process that is forked has ended"
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Started:
    """A fork that runs on, as far as `subprocess.Popen` is asked of it: it is not our own child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)  # of this process, even if its pid is reused

    def poll(self) -> int | None:
        """Return None while it runs, then -1: its parent alone learns its exit code."""
        return -1 if select.select([self._descriptor], [], [], 0)[0] else None


def serve(run: Callable[[Any], int]) -> None:
    """Call `run` in a fork for each order that comes, until no more can; `run` returns the exit
    code. A fork with a log is not waited for: it ends when we do, by SIGTERM.
    """
    for line in sys.stdin:
        order, stdin, log = json.loads(line)
        print(json.dumps(_start(run, order, log) if log else _fork(run, order, stdin)), flush=True)
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    os._exit(0)  # what was loaded need not be taken down


def _start(run: Callable[[Any], int], order: Any, log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    end_with_parent(signal.SIGTERM)
    with Path(os.devnull).open("rb") as nothing, Path(log).open("ab") as output:
        for number, file in enumerate((nothing, output, output)):
            os.dup2(file.fileno(), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os._exit(_code_of(run, order))


def _fork(run: Callable[[Any], int], order: Any, stdin: str) -> tuple[int, str, str]:
    with (
        tempfile.TemporaryFile() as heard,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as complained,
    ):
        heard.write(stdin.encode())
        heard.seek(0)
        pid = os.fork()
        if pid == 0:
            for number, file in enumerate((heard, said, complained)):
                os.dup2(file.fileno(), number)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            os._exit(_code_of(run, order))
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (said, complained):
            file.seek(0)
            texts.append(file.read().decode())
        return os.waitstatus_to_exitcode(status), *texts


def _code_of(run: Callable[[Any], int], order: Any) -> int:
    try:
        return run(order)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
