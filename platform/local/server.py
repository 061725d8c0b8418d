"""What the embedded PostgreSQL and Valkey have in common: a folder, a socket, locks, a process.

A server's folder holds everything of it:

    data/    its files             socket/  its unix socket (elsewhere where the path is long)
    owner    locked by us          alive    locked by the server's processes, inherited
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from local import locks
from local.child import Child
from local.errors import LocalError, until

SOCKET_PATH_BYTES = 107  # what the kernel's sockaddr_un holds, less the closing zero
LEFTOVER_SECONDS = 15


def package_folder(package: str, replacement: str) -> Path:
    """Return the folder of an installed wheel without importing it.

    Raise LocalError, naming the variable `replacement` that does without it, where it is absent.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LocalError(
            f"the package {package} is not installed here: install requirements-local.txt, "
            f"or name a server of your own in {replacement}"
        )
    return Path(spec.origin).parent


class Server(ABC):
    """An embedded server; subclasses say what it runs.

    folder: where everything of it is kept. log: the file its output goes to, <folder>/log by
    default. Starts belong in the main thread (see `Child.start`).
    """

    name = "server"
    socket_name = "socket"
    stop_signal: int = signal.SIGTERM
    grace = 10.0  # seconds for a stop before it is killed
    start_seconds = 60.0  # a recovery after a crash may take a while

    def __init__(self, folder: Path | str, *, log: Path | None = None) -> None:
        self.folder = Path(folder).resolve()
        self.data = self.folder / "data"
        self.log = log or self.folder / "log"
        self.socket_folder = _socket_folder(self.folder, self.socket_name)
        self.child: Child | None = None
        self._owner: int | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for clients."""

    @property
    def running(self) -> bool:
        """Whether its main process lives (it may not answer yet)."""
        return self.child is not None and self.child.running

    @property
    def pid(self) -> int:
        """Its main process. Raise LocalError where it was never started."""
        if self.child is None:
            raise LocalError(f"{self.name} was not started")
        return self.child.pid

    @property
    def code(self) -> int | None:
        """The exit code of its main process; None while it runs and before."""
        return self.child.code if self.child else None

    def start(self) -> None:
        """Start it and wait until it answers; does nothing where it runs already.

        Raise LocalError with the end of its log where it does not come up, or where another
        process runs it.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting for an answer. Raise LocalError as `start` does."""
        if self.running:
            return
        if self._owner is None:
            self._owner = locks.take(self.folder / "owner")
            if self._owner is None:
                raise LocalError(f"{self.name} in {self.folder} is run by another process")
        try:
            self._launch()
        except BaseException:
            self._release()
            raise

    def wait_ready(self) -> None:
        """Wait until it answers. Raise LocalError with the end of its log where it does not."""
        if not until(lambda: not self.running or self._answers(), self.start_seconds):
            self.stop()
            raise LocalError(
                f"{self.name} did not answer within {self.start_seconds:g} s\n{self.tail()}"
            )
        if not self.running:
            self._release()
            raise LocalError(f"{self.name} ended while it started\n{self.tail()}")

    def stop(self) -> None:
        """Stop it in its orderly way and give the folder free for other processes."""
        if self.child is not None:
            self.child.stop()
        self._release()

    def kill(self) -> None:
        """Kill the main process as a crash would, and wait until all its processes are gone."""
        if self.child is not None:
            # Only the main process: that its children end by themselves is a part of the crash.
            self.child.signal(signal.SIGKILL)
            self.child.wait(5)
            until(lambda: locks.is_free(self.folder / "alive"), LEFTOVER_SECONDS)

    def clear(self) -> None:
        """Kill what a main process that has ended left of its process group."""
        if self.child is not None:
            self.child.clear()

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log, indented."""
        return self.child.tail(lines) if self.child else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        """Start the process as the owner of the folder."""
        alive = locks.take_over(self.folder / "alive", LEFTOVER_SECONDS)
        if alive is None:
            raise LocalError(f"processes of an earlier {self.name} still use {self.folder}")
        try:
            self._make_socket_folder()
            self.child = self._prepare(alive)
            self.child.start()
        finally:
            os.close(alive)  # from here on only the server's own processes hold it

    @abstractmethod
    def _prepare(self, alive: int) -> Child:
        """Put the folder in order and return the child to start, which inherits `alive`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether it serves clients."""

    def _make_socket_folder(self) -> None:
        """Make the socket's folder, closed to other users.

        Raise LocalError where somebody else made a folder of that name before us.
        """
        with contextlib.suppress(FileExistsError):
            self.socket_folder.mkdir(mode=0o700, parents=True)
        found = self.socket_folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in self._owners():
            raise LocalError(f"{self.socket_folder} belongs to another user: remove it")
        self.socket_folder.chmod(0o700)

    def _owners(self) -> set[int]:
        """Return the user ids that the server's files may belong to."""
        return {os.geteuid()}

    def _release(self) -> None:
        """Give up the folder; a socket folder outside of it goes."""
        if self.socket_folder.parent != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


def _socket_folder(folder: Path, name: str) -> Path:
    """Return where a server's socket goes: in its folder, or in a short temporary one.

    Clients also split addresses at commas and spaces, so an unusual path counts as too long. The
    temporary folder's name follows from the path: the next start finds it again, and none pile up.
    """
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    short = f"tollgate-{os.geteuid()}-{digest}"
    for candidate in (folder / "socket", Path(tempfile.gettempdir(), short), Path("/tmp", short)):  # noqa: S108
        path = str(candidate / name)
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES and re.fullmatch(r"[\w./+-]+", path, re.A):
            return candidate
    raise LocalError(f"no folder is short enough for a socket; set TMPDIR (tried {candidate})")
