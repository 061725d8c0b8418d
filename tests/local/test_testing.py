"""`python -m local test` and `with-services`, with real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

from .conftest import processes_of

REPORT = """
import json, os, pathlib, sys, time
import psycopg, redis
folder = pathlib.Path(os.environ["LOCAL_DIR"])
services = json.loads((folder / "services.json").read_text())
assert services.items() <= os.environ.items()
psycopg.connect(services["DATABASE_URL"]).execute("SELECT 1")
redis.Redis.from_url(services["REDIS_URL"]).ping()
print(json.dumps(services | {"folder": str(folder)}), flush=True)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A LOCAL_DIR for the nested runs; short, so that the sockets are in it."""
    path = Path(tempfile.mkdtemp(prefix="launcher-"))
    yield path
    shutil.rmtree(path)


def start(base: Path, *words: str) -> "subprocess.Popen[str]":
    """Start one of the launcher's commands with that LOCAL_DIR."""
    return subprocess.Popen(
        [sys.executable, "-m", "local", *words],
        env=os.environ | {"LOCAL_DIR": str(base), "DATABASE_URL": "postgresql://precious/db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def with_python(base: Path, script: str) -> "subprocess.Popen[str]":
    """Start a Python script beside servers."""
    return start(base, "with-services", "--", "python", "-c", script)


def test_the_command_gets_servers_of_its_own_and_its_exit_code_is_passed_on(base: Path) -> None:
    left_by_a_killed_one = base / "test-old"
    (left_by_a_killed_one / "postgres").mkdir(parents=True)
    os.utime(left_by_a_killed_one, (0, 0))
    process = with_python(base, REPORT + "sys.exit(7)")
    output, _ = process.communicate()
    assert process.returncode == 7, output
    assert "precious" not in json.loads(output)["DATABASE_URL"]
    assert list(base.iterdir()) == []
    assert processes_of(base) == []


def test_a_signal_ends_the_command_as_ctrl_c_does_and_leaves_nothing(base: Path) -> None:
    script = (
        REPORT + "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit('tidy end')"
    )
    process = with_python(base, script)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "tidy end\n")
    assert list(base.iterdir()) == []
    assert processes_of(base) == []


def test_a_killed_launcher_leaves_no_process(base: Path) -> None:
    process = with_python(base, REPORT + "time.sleep(60)")
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: processes_of(base) == [])


def test_no_test_found_is_a_failure(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # quicker
    (base / "pytest.ini").write_text("[pytest]\n")
    process = start(base, "test", "-c", str(base / "pytest.ini"), str(base))
    output, _ = process.communicate()
    assert process.returncode == 5, output


def test_an_unknown_command_is_named(base: Path) -> None:
    process = start(base, "with-services", "--", "no-such-program")
    output, _ = process.communicate()
    assert (process.returncode, output) == (1, "there is no program called no-such-program\n")


def test_words_it_cannot_read_get_the_usage(base: Path) -> None:
    process = start(base, "dance")
    assert "usage: python -m local run" in process.communicate()[0]
    assert process.returncode == 2
