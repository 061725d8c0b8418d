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


def prepare(*arguments: str, catalogue: str = "default") -> tuple[list[str], dict[str, Any]]:
    out = StringIO()
    call_command(
        "prepare_demo", "--catalogue", catalogue, *arguments, stdout=out, stderr=StringIO()
    )
    lines = out.getvalue().splitlines()
    return lines[:-1], json.loads(lines[-1])


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where the default catalogue's upstream is, as the launcher does."""
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9/v1")


@pytest.fixture
def demo_file(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


def test_it_makes_a_customer_with_credit_a_key_and_a_staff_login(demo_file: Path) -> None:
    _, made = prepare("--demo-file", str(demo_file))
    assert list(made) == ["api_key", "customer", "staff", "created", "service", "model"]
    assert made["created"] is True
    assert (made["service"], made["model"]) == ("Tollgate", "glm-5.2")
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
    assert json.loads(demo_file.read_text()).items() <= made.items()
    assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600
    assert [path.name for path in demo_file.parent.iterdir()] == [demo_file.name]


def test_a_second_run_makes_nothing_and_says_the_same(demo_file: Path) -> None:
    _, first = prepare("--demo-file", str(demo_file))
    _, second = prepare("--demo-file", str(demo_file))
    assert second == {**first, "created": False}
    assert (ApiKey.objects.count(), Team.objects.count()) == (1, 2)


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
    assert Team.objects.count() == 2
    assert CreditAccount.objects.get(team__name="Demo").posted_nanos == 25_000_000_000
    for login in (second["customer"], second["staff"]):
        assert Client().login(username=login["email"], password=login["password"])


def test_a02_another_catalogue_brings_its_brand_and_a_key_of_its_prefix(demo_file: Path) -> None:
    _, first = prepare("--demo-file", str(demo_file))
    seen = {}
    for catalogue in ("weatmood", "glm5", "weryai", "zai", "answira"):
        _, seen[catalogue] = prepare("--demo-file", str(demo_file), catalogue=catalogue)
    assert {name: (made["service"], made["model"]) for name, made in seen.items()} == {
        "weatmood": ("Weatmood", "glm-4.7"),
        "glm5": ("GLM 5", "glm-5.2"),
        "weryai": ("WeryAI", "GPT_5_5"),
        "zai": ("Z.AI", "glm-4.7"),
        "answira": ("Answira", "zai-org/GLM-4.7-FP8"),
    }
    prefixes = {name: find_active(made["api_key"]).prefix for name, made in seen.items()}
    assert prefixes["weatmood"] == "weatmood-"
    assert prefixes["glm5"] == "sk-glm5-"
    assert prefixes["weryai"] == "sk-"
    for made in seen.values():
        assert made["customer"] == first["customer"]
        assert find_active(made["api_key"]).team == find_active(first["api_key"]).team


def test_a02_switching_back_and_forth_brings_the_same_keys(demo_file: Path) -> None:
    order = ("default", "weatmood", "default", "glm5", "weatmood", "default")
    keys = [prepare("--demo-file", str(demo_file), catalogue=name)[1]["api_key"] for name in order]
    assert keys[0] == keys[2] == keys[5]
    assert keys[1] == keys[4]
    assert ApiKey.objects.count() == len(set(keys)) == 3
    api_keys.revoke_key(find_active(keys[1]))
    _, again = prepare("--demo-file", str(demo_file), catalogue="weatmood")
    assert again["created"] is True
    assert find_active(again["api_key"]).prefix == "weatmood-"
    assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600


def test_with_json_there_is_nothing_but_the_json() -> None:
    lines, _ = prepare("--json")
    assert lines == []


def test_an_unknown_catalogue_is_answered_with_those_there_are() -> None:
    with pytest.raises(CommandError, match=r"There are: .*default"):
        call_command("prepare_demo", "--catalogue", "../secrets")
