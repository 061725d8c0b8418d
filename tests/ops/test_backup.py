"""Backup and restore: a server is lost, and its database comes back as of a chosen moment."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local import state
from local.migrated import copy_cluster
from local.postgres import Postgres, _programs
from tests.support.forks import ROOT
from tests.support.waiting import eventually

SCRIPT = ROOT / "platform/ops/backup.sh"
SECRETS = state.new_secrets()


class Backups:
    """A migrated server that archives its WAL, and the folder of its backups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self.backups.mkdir(mode=0o777)
        self.backups.chmod(0o777)
        archive = f"BACKUP_DIR={self.backups} sh {SCRIPT} archive %p %f"
        settings = {"archive_mode": "on", "archive_command": archive, "fsync": "off"}
        self.postgres = Postgres(folder / "postgres", quick=True, settings=settings)
        copy_cluster(folder / "postgres")

    def script(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the script as an operator does."""
        environment = {
            "PATH": f"{_programs()}{os.pathsep}{os.environ['PATH']}",
            "BACKUP_DIR": str(self.backups),
            "PGHOST": str(self.postgres.socket_folder),
            "PGUSER": "tollgate",
        }
        done = subprocess.run(
            ["sh", str(SCRIPT), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def manage(self, server: Postgres, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the product's commands on a server."""
        environment = os.environ | SECRETS | {"DATABASE_URL": server.url}
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def query(self, server: Postgres, text: str) -> Any:
        with psycopg.connect(server.url, autocommit=True) as connection:
            row = connection.execute(text).fetchone()
            return row[0] if row else None

    def archive_all(self) -> None:
        """Finish the current WAL file, and wait until it is in the archive."""
        self.query(self.postgres, "SELECT pg_create_restore_point('test')")  # else it is empty
        name = self.query(self.postgres, "SELECT pg_walfile_name(pg_switch_wal())")
        eventually((self.backups / "wal" / name).exists, what=f"{name} is not archived")

    def restored(self, name: str, moment: str = "") -> Postgres:
        """Return a server, not started, with what is restored as of a moment."""
        folder = self.folder / name
        self.script("restore", str(folder / "data"), *([moment] if moment else []))
        (folder / "made").touch()  # the database exists
        return Postgres(folder, quick=True, settings={"fsync": "off"})


@pytest.fixture
def backups(tmp_path: Path) -> Iterator[Backups]:
    made = Backups(tmp_path)
    with made.postgres:
        yield made


EMAILS = "SELECT string_agg(email, ' ' ORDER BY email) FROM accounts_user"


def test_a_lost_database_comes_back_as_of_a_chosen_moment(backups: Backups) -> None:
    lost = backups.postgres
    backups.manage(lost, "create_customer", "first@example.com", "--credit", "25")
    backups.script("base")
    backups.manage(lost, "create_customer", "second@example.com", "--credit", "10")
    moment = backups.query(lost, "SELECT clock_timestamp()::text")
    backups.manage(lost, "create_customer", "third@example.com")
    backups.archive_all()
    lost.stop("immediate")

    with backups.restored("then", moment) as server:
        assert backups.query(server, EMAILS) == "first@example.com second@example.com"
        checked = backups.manage(server, "check_ledger").stdout
        assert "VIOLATIONS" not in checked
        assert "Checked " in checked
        balance = backups.manage(server, "balance", "second@example.com").stdout
        assert "10" in balance
        # It is a server like any other: it takes writes.
        backups.manage(server, "create_customer", "fourth@example.com")
    with backups.restored("latest") as server:
        everyone = "first@example.com second@example.com third@example.com"
        assert backups.query(server, EMAILS) == everyone
        backups.manage(server, "check_ledger")


def test_only_what_is_needed_is_kept(backups: Backups) -> None:
    server = backups.postgres
    names = []
    for _ in range(3):
        backups.query(server, "SELECT pg_sleep(1.1)")  # the names have seconds
        names.append(backups.script("base").stdout.strip())
        backups.archive_all()
    wal_before = len(list((backups.backups / "wal").iterdir()))
    backups.script("prune", "2")
    assert sorted(path.name for path in (backups.backups / "base").iterdir()) == names[1:]
    assert len(list((backups.backups / "wal").iterdir())) < wal_before
    server.stop("immediate")
    with backups.restored("kept") as restored:
        backups.manage(restored, "check_ledger")


def test_what_cannot_be_restored_is_refused_and_touches_nothing(backups: Backups) -> None:
    target = backups.folder / "target"
    for arguments, reason in (
        (("restore", str(target)), "no base backup ended before now"),
        (("restore", str(target), "sometime"), "is not a time"),
        (("prune", "0"), "keep at least one"),
        (("unknown",), "usage: archive, base, restore or prune"),
    ):
        done = backups.script(*arguments, check=False)
        assert done.returncode != 0
        assert reason in done.stderr
    assert not target.exists()
    backups.script("base")
    early = backups.script("restore", str(target), "2020-01-01 00:00:00+00", check=False)
    assert "no base backup ended before 2020" in early.stderr
    target.mkdir()
    (target / "precious").touch()
    full = backups.script("restore", str(target), check=False)
    assert "is not empty" in full.stderr
    assert [path.name for path in target.iterdir()] == ["precious"]


def test_a_wal_file_is_never_replaced_by_another(tmp_path: Path) -> None:
    def archive(content: str) -> int:
        (tmp_path / "file").write_text(content)
        command = f"sh {shlex.quote(str(SCRIPT))} archive {tmp_path}/file 0001"
        environment = {"PATH": os.environ["PATH"], "BACKUP_DIR": str(tmp_path / "backups")}
        return subprocess.run(command, shell=True, env=environment, check=False).returncode

    assert archive("one") == 0
    assert archive("one") == 0, "again, after a crash"
    assert archive("two") != 0
    assert (tmp_path / "backups/wal/0001").read_text() == "one"
