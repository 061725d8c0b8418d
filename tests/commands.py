"""Management commands without a start of Python for each: one process has loaded the project, and
is forked for every command. What a command reads, prints and returns is as with `manage.py`.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Commands:
    """Runs commands with this environment, one after the other. It ends when we do.

    The process is started at once and made ready beside whatever comes next.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands"],
            env={**environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return the command's exit code, its stdout and its stderr."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(arguments) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, "the process that runs commands has ended"
        code, said, complained = json.loads(answer)
        return code, said, complained

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _serve() -> None:
    import django  # noqa: PLC0415 - who only asks need not load it
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("check", stdout=io.StringIO())  # every fork has the views then, too
    for line in sys.stdin:
        print(json.dumps(_run_forked(json.loads(line))), flush=True)


def _run_forked(arguments: Sequence[str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        pid = os.fork()
        if pid == 0:
            with open(os.devnull) as nothing:  # noqa: PTH123
                os.dup2(nothing.fileno(), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(complained.fileno(), 2)
            code = _run(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (said, complained):
            file.seek(0)
            texts.append(file.read().decode())
        return os.waitstatus_to_exitcode(status), *texts


def _run(arguments: Sequence[str]) -> int:
    from django.core.management import execute_from_command_line  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        connections.close_all()
    return 0


if __name__ == "__main__":
    _serve()
