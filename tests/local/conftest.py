"""What the launcher's tests share: looks at processes, and short-lived folders."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def lives(pid: int) -> bool:
    """Return whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def processes_of(folder: Path) -> list[str]:
    """Return the command lines and ids of the running processes that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and lives(int(path.parent.name)):
            found.append(f"{path.parent.name}: {command}")
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for one file's servers, removed at once: a cluster has 40 MB."""
    path = Path(tempfile.mkdtemp(prefix="launcher-"))
    yield path
    shutil.rmtree(path)
