"""The embedded Valkey, with real processes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from local.valkey import Valkey
from tests.support.waiting import eventually

from .conftest import lives

SUPERVISE = """
import sys, time
from local.valkey import Valkey
valkey = Valkey(sys.argv[1])
valkey.start()
print(valkey.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A running Valkey."""
    with Valkey(tmp_path / "valkey") as server:
        yield server


def client(server: Valkey) -> "redis.Redis":
    """Return a client of the server."""
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_it_listens_on_its_socket_only(valkey: Valkey) -> None:
    assert client(valkey).config_get("port") == {"port": "0"}
    assert client(valkey).config_get("save") == {"save": ""}


def test_data_survives_a_kill_and_a_restart(valkey: Valkey) -> None:
    client(valkey).set("word", "kept")
    valkey.kill()
    assert not valkey.running
    valkey.start()
    assert client(valkey).get("word") == "kept"
    valkey.restart()
    assert client(valkey).get("word") == "kept"


def test_a_killed_supervisor_leaves_no_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert lives(pid)
        supervisor.kill()
    eventually(lambda: not lives(pid))


def test_a_path_too_long_for_a_socket_gets_a_short_folder(tmp_path: Path) -> None:
    server = Valkey(tmp_path / ("long" * 30))
    with server:
        assert client(server).ping()
    assert not server.socket_folder.exists()
