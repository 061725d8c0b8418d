"""Locks on files: who runs in a folder, and whether anything of an earlier run is left in it.

The kernel drops a lock with the last descriptor of it, however its holders died. A child that
inherits the descriptor therefore says "I live" more surely than a number in a pid file, which may
name a zombie or a stranger.
"""

import contextlib
import fcntl
import os
import signal
from pathlib import Path

from local.errors import until


def take(path: Path) -> int | None:
    """Return a descriptor that holds the lock on the file, or None where somebody holds it.

    The descriptor is not inherited unless the caller passes it on (`pass_fds`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_free(path: Path) -> bool:
    """Return whether nobody holds the lock on the file."""
    descriptor = take(path)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def take_over(path: Path, seconds: float) -> int | None:
    """Return the lock once every process that inherited it earlier has ended.

    They were told to end when their parent died, so they get that many seconds for it; then they
    are killed. None where even that does not free the lock.
    """
    got: list[int] = []

    def take_it() -> bool:
        descriptor = take(path)
        if descriptor is not None:
            got.append(descriptor)
        return bool(got)

    if not until(take_it, seconds):
        for pid in holders(path):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        until(take_it, seconds)
    return got[0] if got else None


def holders(path: Path) -> list[int]:
    """Return the ids of the processes, other than this one, that have the file open.

    Of a process whose descriptors we may not read (another user's, in a container) the command
    line must do: it counts where it names something in the file's folder.
    """
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            with os.scandir(process / "fd") as entries:
                is_holder = any(_is_same(entry.path, wanted) for entry in entries)
        except PermissionError:
            is_holder = _names(process / "cmdline", path.parent)
        except OSError:  # it has ended
            continue
        if is_holder:
            found.append(int(process.name))
    return found


def _names(command_line: Path, folder: Path) -> bool:
    """Return whether a process was started with a path in the folder as an argument."""
    try:
        words = command_line.read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.startswith(os.fsencode(folder) + b"/") for word in words)


def _is_same(descriptor: str, wanted: os.stat_result) -> bool:
    """Return whether an entry of /proc/<pid>/fd is the wanted file.

    Raise PermissionError where we may not know.
    """
    try:
        return os.path.samestat(os.stat(descriptor), wanted)  # noqa: PTH116 - a hot loop
    except FileNotFoundError:  # closed meanwhile, or no file
        return False
