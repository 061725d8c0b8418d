"""Programs without a start of Python for each: one process has loaded what they need, and is forked
for every one of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        pipe.write(json.dumps([order, stdin]) + "\n")
        pipe.flush()
        answer = answers.readline()
        assert answer, "the process that is forked has ended"
        code, said, complained = json.loads(answer)
        return code, said, complained

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(run: Callable[[Any], int]) -> None:
    """Call `run` in a fork for each order that comes, until no more can; `run` returns the exit
    code.
    """
    for line in sys.stdin:
        print(json.dumps(_fork(run, *json.loads(line))), flush=True)
    os._exit(0)  # what was loaded need not be taken down


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
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
