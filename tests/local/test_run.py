"""`python -m local run`, with real servers and toys instead of the project's programs."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually

from .conftest import lives, processes_of

TOYS = Path(__file__).with_name("toys.py")
LAUNCH = """
import sys
from local import run
from local.errors import LocalError
toys = [[sys.executable, sys.argv[1], role] for role in ("prepare", "web", "worker", "simulator")]
try:
    sys.exit(run.main(run.Programs(*toys)))
except LocalError as error:
    sys.exit(str(error))
"""
ELSEWHERE = {"DATABASE_URL": "postgresql://db.example/x", "REDIS_URL": "redis://cache.example"}
Launch = Callable[..., "subprocess.Popen[str]"]


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def launch(folder: Path) -> Iterator[Launch]:
    """Start a launcher of toys; its output is joined in its stdout. All of them end here."""
    started = []

    def start(**environment: str) -> "subprocess.Popen[str]":
        (folder / "events").unlink(missing_ok=True)
        own = {"LOCAL_DIR": str(folder), "PORT": str(free_port())} | environment
        clean = {name: text for name, text in os.environ.items() if name not in ELSEWHERE}
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(TOYS)],
            env=clean | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        process.port = own["PORT"]
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    eventually(lambda: processes_of(folder) == [])


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """Return what the launcher prints up to the line with the text. Fails where it ends first."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"it never said {text!r}:\n{''.join(lines)}")


def events(folder: Path) -> list[str]:
    """Return what the toys noted."""
    return (folder / "events").read_text().splitlines()


def pid_of(folder: Path, role: str) -> int:
    """Return the process id of the toy that started last in this role."""
    return [int(e.split()[1]) for e in events(folder) if re.fullmatch(rf"{role} \d+", e)][-1]


def test_it_announces_what_works_and_stops_in_order(folder: Path, launch: Launch) -> None:
    process = launch()
    said = read_until(process, "Ctrl-C stops everything")
    url = f"http://127.0.0.1:{process.port}"
    for part in (url, "toy@example.com", "toy-password", "/admin/", "Bearer toy-key", "glm-5.2"):
        assert part in said
    assert "no money moves" in said
    assert urllib.request.urlopen(f"{url}/health", timeout=5).status == 200
    services = json.loads((folder / "services.json").read_text())
    assert set(services) == {
        "DATABASE_URL", "REDIS_URL", "SIMULATOR_URL", "BASE_URL", "SECRET_KEY", "API_KEY_PEPPERS",
        "ENCRYPTION_KEYS", "STAFF_SECOND_FACTOR", "UPSTREAM_HOSTS", "WEBHOOKS_ALLOW_LOOPBACK",
        "MAIL_DIR", "DEVELOPMENT", "TRIAL_CREDIT_DOLLARS",
        "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE",
    }  # fmt: skip
    assert services["STRIPE_API_BASE"] == f"{services['SIMULATOR_URL']}/stripe"
    assert re.fullmatch(r"1:[0-9a-f]{64}", services["API_KEY_PEPPERS"])
    demo = json.loads((folder / "demo.json").read_text())
    assert (demo["api_key"], demo["base_url"]) == ("toy-key", url)
    for name in ("services.json", "secrets.json", "demo.json"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    eventually(lambda: len(events(folder)) == 3)

    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    both = "postgres+valkey"
    assert [line for line in events(folder) if "stops" in line] == [
        f"web stops beside {both}",
        f"worker stops beside {both}",
        f"simulator stops beside {both}",
    ]
    assert processes_of(folder) == []
    left = json.loads((folder / "services.json").read_text())
    assert set(left) == {"SECRET_KEY", "API_KEY_PEPPERS", "ENCRYPTION_KEYS"}
    assert left.items() <= services.items()


def test_a_second_run_in_the_same_folder_is_refused(folder: Path, launch: Launch) -> None:
    first = launch(**ELSEWHERE)
    read_until(first, "Ctrl-C stops everything")
    second = launch(**ELSEWHERE)
    assert second.wait(10) == 1
    assert "is running already" in second.stdout.read()
    assert first.poll() is None


def test_a_named_server_replaces_the_embedded_one(folder: Path, launch: Launch) -> None:
    process = launch(**ELSEWHERE)
    read_until(process, "Ctrl-C stops everything")
    services = json.loads((folder / "services.json").read_text())
    assert ELSEWHERE.items() <= services.items()
    assert not [line for line in processes_of(folder) if "valkey-server" in line]


def test_a_stripe_account_replaces_the_stand_in(folder: Path, launch: Launch) -> None:
    process = launch(**ELSEWHERE, STRIPE_SECRET_KEY="sk_test_of_the_operator")
    assert "by Stripe" in read_until(process, "Ctrl-C stops everything")
    services = json.loads((folder / "services.json").read_text())
    assert not [name for name in services if name.startswith("STRIPE")]


def test_a_taken_port_ends_the_run_before_anything_starts(folder: Path, launch: Launch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = launch(PORT=str(taken.getsockname()[1]))
        assert process.wait(60) == 1
    assert "is taken by another program" in process.stdout.read()
    assert processes_of(folder) == []


@pytest.mark.parametrize("broken", ["prepare", "web"])
def test_a_program_that_fails_at_the_start_is_named_with_its_last_words(
    folder: Path, launch: Launch, broken: str
) -> None:
    process = launch(BROKEN=broken)
    assert process.wait(60) == 1
    said = process.stdout.read()
    assert broken in said
    assert "has a bad day" in said
    assert processes_of(folder) == []


def test_what_dies_is_restarted(folder: Path, launch: Launch) -> None:
    process = launch()
    read_until(process, "Ctrl-C stops everything")
    web = pid_of(folder, "web")
    os.kill(web, signal.SIGKILL)
    assert "web was killed by SIGKILL" in read_until(process, "web runs again")
    eventually(lambda: pid_of(folder, "web") != web)

    postmaster = int((folder / "postgres/data/postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    read_until(process, "postgres runs again")
    assert not lives(postmaster)


def test_a_killed_launcher_leaves_nothing_and_the_next_start_goes_on(
    folder: Path, launch: Launch
) -> None:
    process = launch()
    read_until(process, "Ctrl-C stops everything")
    secrets = (folder / "secrets.json").read_text()
    process.kill()
    again = launch()
    read_until(again, "Ctrl-C stops everything")
    assert (folder / "secrets.json").read_text() == secrets
    again.kill()
    eventually(lambda: processes_of(folder) == [])


def test_a_second_ctrl_c_kills_at_once(folder: Path, launch: Launch) -> None:
    process = launch(STUBBORN="web")
    read_until(process, "Ctrl-C stops everything")
    process.send_signal(signal.SIGINT)
    read_until(process, "stopping")
    process.send_signal(signal.SIGINT)
    assert process.wait(9) == 130
    eventually(lambda: processes_of(folder) == [])


def test_a_stop_during_the_start_leaves_nothing(folder: Path, launch: Launch) -> None:
    process = launch()
    read_until(process, "starting")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert processes_of(folder) == []
