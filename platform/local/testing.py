"""Runs a command beside a PostgreSQL and a Valkey of its own, which leave nothing behind."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from local import locks, state
from local.child import Child, environment, find
from local.errors import POLL_SECONDS, StoppedError, on_stop_signals, stop_flag
from local.migrated import FOLDER_VARIABLE, copy_cluster
from local.postgres import Postgres
from local.valkey import Valkey

PREFIX = "test-"
GRACE_SECONDS = 15
YOUNG_SECONDS = 60
TEST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def test(arguments: Sequence[str]) -> int:
    """Run pytest with these arguments; return its exit code (5 where it found no test)."""
    return with_services([sys.executable, "-m", "pytest", *arguments], for_tests=True)


def with_services(command: Sequence[str], *, for_tests: bool = False) -> int:
    """Run the command with its own servers; return its exit code (128 + a killing signal).

    It finds them in DATABASE_URL and REDIS_URL, secrets in SECRET_KEY, API_KEY_PEPPERS and
    ENCRYPTION_KEYS, and all of these in services.json of a private LOCAL_DIR, whatever the
    environment said before: a test must never reach a database that is worth something. for_tests:
    the database is migrated, has a copy called `migrated` to clone, and does not wait for the disk.

    A signal to us ends the command as Ctrl-C would. Raise LocalError where a server does not
    start, or there is no such command.
    """
    signals = _Signals()
    # The programs of our environment first: `python` is the one with the project in it.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    find(command[0], path)  # a typing mistake should not wait for the servers
    try:
        with _folder() as folder, _services(folder, for_tests) as services:
            own = {**services, "LOCAL_DIR": str(folder), "PATH": path}
            own.setdefault(FOLDER_VARIABLE, os.environ.get(FOLDER_VARIABLE, str(folder.parent)))
            return _obey(Child("command", command, env=environment(own)), signals)
    except StoppedError:
        return 130


class _Signals:
    """Counts the requests to end, whatever signal says so."""

    def __init__(self) -> None:
        self.count = 0
        on_stop_signals(self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        stop_flag.asked = True


def _obey(child: Child, signals: _Signals) -> int:
    """Run the command to its end, passing on requests to end; return its exit code."""
    if signals.count:
        raise StoppedError
    child.start()
    passed, deadline = 0, float("inf")
    while child.running:
        if signals.count > passed:
            # As Ctrl-C, which test runners know how to end tidily on; the terminal's own does not
            # reach the command.
            passed = signals.count
            child.signal(signal.SIGINT, group=True)
            deadline = time.monotonic() + GRACE_SECONDS
        if time.monotonic() > deadline or passed > 2:
            child.kill()
        time.sleep(POLL_SECONDS)
    child.clear()
    code = child.code or 0
    return code if code >= 0 else 128 - code


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a fresh private folder and remove it; removes those that killed runs left, too."""
    base = state.local_dir()
    base.mkdir(parents=True, exist_ok=True)
    for old in base.glob(f"{PREFIX}*"):
        if time.time() - old.stat().st_mtime < YOUNG_SECONDS:
            continue  # perhaps just made, and its lock not taken yet
        if all(locks.is_free(old / name) for name in ("lock", "postgres/alive", "valkey/alive")):
            for server in (Postgres(old / "postgres"), Valkey(old / "valkey")):
                server.stop()  # it does not run: this removes a socket folder elsewhere
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    lock = locks.take(folder / "lock")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def _services(folder: Path, for_tests: bool) -> Iterator[dict[str, str]]:
    """Start the servers in the folder and yield the variables that name them; stop them."""
    settings = TEST_SETTINGS if for_tests else {}
    postgres = Postgres(folder / "postgres", quick=True, settings=settings)
    valkey = Valkey(folder / "valkey")
    try:
        valkey.launch()
        if for_tests:
            copy_cluster(postgres.folder)
        postgres.start()
        if for_tests:
            postgres.create_database("migrated", template="tollgate")
        valkey.wait_ready()
        services = {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url} | state.new_secrets()
        state.write(folder / "services.json", services)
        yield services
    finally:
        valkey.stop()
        postgres.stop("immediate")  # nobody will want this data again
