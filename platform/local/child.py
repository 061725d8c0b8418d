"""One program that we start, watch and stop."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path

from local.errors import POLL_SECONDS, LocalError

LAUNCH = Path(__file__).with_name("launch.py")
LOG_BYTES = 5_000_000
TAIL_BYTES = 20_000


class Child:
    """A program in a session of its own: the terminal's Ctrl-C reaches it only through us.

    name: what people call it. argv: program and arguments; a bare program name is looked up on
    PATH. log: the file its output is appended to, or None to share ours. env: its whole
    environment, ours by default. identity: see `launch.py`. stop_signal asks it to end, and after
    `grace` seconds it is killed; death_signal is what it gets when we die. lock: a descriptor that
    it inherits.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        identity: str = "direct",
        stop_signal: int = signal.SIGTERM,
        death_signal: int = signal.SIGTERM,
        grace: float = 5.0,
        lock: int | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = env
        self.cwd = cwd
        self.identity = identity
        self.stop_signal = stop_signal
        self.death_signal = death_signal
        self.grace = grace
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program and return at once.

        Call it in the main thread: the kernel sends the death signal when the thread that started
        the child ends. Raise LocalError where the program does not exist.
        """
        program = find(self.argv[0], (self.env or os.environ).get("PATH", os.defpath))
        with contextlib.ExitStack() as stack:
            output = None
            if self.log:
                output = stack.enter_context(_opened(self.log))
            self.process = subprocess.Popen(
                [*launcher(self.identity, self.death_signal), program, *self.argv[1:]],
                stdin=subprocess.DEVNULL if output else None,
                stdout=output,
                stderr=output,
                env=self.env,
                cwd=self.cwd,
                pass_fds=() if self.lock is None else (self.lock,),
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raise LocalError where it was never started."""
        if self.process is None:
            raise LocalError(f"{self.name} was not started")
        return self.process.pid

    @property
    def code(self) -> int | None:
        """Its exit code (minus the signal's number where one killed it); None while it runs."""
        return self.process.poll() if self.process else None

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to it, or to its whole process group, if it still runs."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def clear(self) -> None:
        """Kill what a program that has ended left of its process group.

        (A killed Celery worker leaves its beat behind.) Call it as soon as the end was seen.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Wait for its end and return whether it came within so many seconds."""
        deadline = time.monotonic() + seconds
        while self.running:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def stop(self) -> None:
        """Ask it to end, and kills it where it has not ended after `grace` seconds."""
        self.signal(self.stop_signal)
        if not self.wait(self.grace):
            self.kill()
        elif self.process:
            self.clear()

    def kill(self) -> None:
        """Kill it and its process group at once, and wait for its end."""
        self.signal(signal.SIGKILL, group=True)
        self.wait(5)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log, indented; empty where it has none."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with these variables of the child's own.

    A Python that may not keep its compiled modules takes seconds longer to start, each time: ours
    may, whatever the environment says.
    """
    everything = {**os.environ, **own}
    everything.pop("PYTHONDONTWRITEBYTECODE", None)
    return everything


def launcher(identity: str, death_signal: int) -> list[str]:
    """Return the words that, before a program's, start it as that identity of `launch.py`."""
    words = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(death_signal))]
    return [*words, identity]


def find(program: str, path: str) -> str:
    """Return the program's full path. Raise LocalError where there is none."""
    found = shutil.which(program, path=path)
    if found is None:
        raise LocalError(f"there is no program called {program}")
    return found


def _opened(log: Path) -> FileIO:
    """Open a log to append to it; one that has grown large is set aside as NAME.1."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    return log.open("ab", buffering=0)
