"""A process whose settings are incomplete doesn't start, and names everything at once."""

import os
import subprocess
import sys
from typing import Any

import pytest

from config.startup import REQUIRED, problems
from tests.support.forks import ROOT


def test_complete_settings_have_no_problem() -> None:
    assert problems() == []


def test_everything_that_is_missing_is_named_at_once(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.env._SERVICES", {})
    for name in REQUIRED:
        monkeypatch.delenv(name, raising=False)
    settings.API_KEY_PEPPERS = settings.ENCRYPTION_KEYS = {}
    settings.SECRET_KEY = "insecure-until-SECRET_KEY-is-set"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_live_x", ""
    settings.BASE_URL = "https://api.example.com"
    found = problems()
    assert [line.partition(" ")[0] for line in found[: len(REQUIRED)]] == list(REQUIRED)
    stripe, hosts = found[len(REQUIRED) :]
    assert "STRIPE_WEBHOOK_SECRET" in stripe
    assert "api.example.com" in hosts


def test_a_value_that_is_unusable_is_named_too(settings: Any) -> None:
    settings.API_KEY_PEPPERS = {1: b"short"}
    (found,) = problems()
    assert "shorter than 32 bytes" in found


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import config.asgi"],
        ["-m", "celery", "-A", "config.celery", "worker", "--pool", "solo"],
    ],
    ids=["web", "worker"],
)
def test_no_process_starts_without_them(command: list[str], tmp_path: Any) -> None:
    bare = {name: text for name, text in os.environ.items() if name not in REQUIRED}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=bare | {"LOCAL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    for name in REQUIRED:
        assert f"- {name} is missing" in done.stderr
