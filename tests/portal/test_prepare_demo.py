"""`manage.py prepare_demo`."""

import json
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import api_keys
from accounts.api_keys import find_active
from accounts.models import ApiKey, Team, User
from api.models import Model
from billing.models import CreditAccount

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("simulator")]


def prepare(*arguments: str) -> tuple[list[str], dict[str, Any]]:
    out = StringIO()
    call_command(
        "prepare_demo", "--catalogue", "default", *arguments, stdout=out, stderr=StringIO()
    )
    lines = out.getvalue().splitlines()
    return lines[:-1], json.loads(lines[-1])


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Says where the default catalogue's upstream is, as the launcher does."""
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9/v1")


@pytest.fixture
def demo_file(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


def test_it_makes_a_customer_with_credit_a_key_and_a_staff_login(demo_file: Path) -> None:
    _, made = prepare("--demo-file", str(demo_file))
    assert list(made) == ["api_key", "customer", "staff", "created"]
    assert made["created"] is True
    assert made["customer"]["email"] == "demo@example.com"
    assert made["staff"]["email"] == "staff@example.com"
    team = find_active(made["api_key"]).team
    assert team.name == "Demo"
    assert CreditAccount.objects.get(team=team).posted_nanos == 25_000_000_000
    for login in (made["customer"], made["staff"]):
        assert Client().login(username=login["email"], password=login["password"])
    assert User.objects.get(email="staff@example.com").is_superuser
    assert not User.objects.get(email="demo@example.com").is_staff
    assert Model.objects.exists()


def test_the_demo_file_is_its_owners_alone(demo_file: Path) -> None:
    _, made = prepare("--demo-file", str(demo_file))
    assert json.loads(demo_file.read_text()) == made
    assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600
    assert [path.name for path in demo_file.parent.iterdir()] == [demo_file.name]


def test_a_second_run_makes_nothing_and_says_the_same(demo_file: Path) -> None:
    _, first = prepare("--demo-file", str(demo_file))
    _, second = prepare("--demo-file", str(demo_file))
    assert second == {**first, "created": False}
    assert ApiKey.objects.count() == Team.objects.count() == 1


@pytest.mark.parametrize("loss", ["file", "garbage", "database", "key"])
def test_what_was_lost_is_made_anew_and_the_credit_granted_once(demo_file, loss: str) -> None:
    _, first = prepare("--demo-file", str(demo_file))
    if loss == "file":
        demo_file.unlink()
    elif loss == "garbage":
        demo_file.write_text("[]")
    elif loss == "database":
        demo_file.write_text(json.dumps({**first, "api_key": "sk-tg-of-another-database"}))
    else:
        api_keys.revoke_key(find_active(first["api_key"]))
    _, second = prepare("--demo-file", str(demo_file))
    assert second["created"] is True
    assert find_active(second["api_key"])
    assert Team.objects.count() == 1
    assert CreditAccount.objects.get(kind="customer").posted_nanos == 25_000_000_000
    for login in (second["customer"], second["staff"]):
        assert Client().login(username=login["email"], password=login["password"])


def test_with_json_there_is_nothing_but_the_json() -> None:
    lines, _ = prepare("--json")
    assert lines == []


def test_an_unknown_catalogue_is_answered_with_those_there_are() -> None:
    with pytest.raises(CommandError, match=r"There are: .*default"):
        call_command("prepare_demo", "--catalogue", "../secrets")
