"""The pages that set up agents: their commands, the key that one click creates, its first call."""

import json
import re
import shlex
import tomllib
from datetime import timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Membership, Role
from api.models import Service
from billing.ledger import postings
from portal.docs.agents import AGENTS
from tests.billing.ledger_calls import Customer
from tests.cast import everything_in_the_database, signed_in
from tests.clients import agents as clients
from tests.portal.keys_pages import plaintexts
from tests.portal.serving import serve

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alices_account", "default_catalogue")]
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
SLUGS = [agent.slug for agent in AGENTS]


def page(client: Client, slug: str, **query: str) -> str:
    answer = client.get(f"/docs/agents/{slug}", query)
    assert answer.status_code == 200
    return answer.content.decode()


def create(client: Client, slug: str, token: str = "") -> Any:
    """Create a key as the page's button does."""
    found = re.search(r'name="token" value="([^"]+)"', page(client, slug))
    assert found is not None
    form = {"token": token or found[1]}
    return client.post(f"/docs/agents/{slug}/key", form, headers={"User-Agent": LINUX})


def codes(html: str) -> dict[str, list[str]]:
    """Return the page's pieces of code by language."""
    found: dict[str, list[str]] = {}
    for language, text in re.findall(
        r'<code id="step-\d+" class="language-(\w+)">(.*?)</code>', html, re.S
    ):
        found.setdefault(language, []).append(unescape(text))
    return found


def test_one_click_creates_a_limited_key_and_fills_it_in_once(browser: Client, alice: Any) -> None:
    answer = create(browser, "claude-code")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    (plaintext,) = plaintexts(answer)
    assert plaintext not in everything_in_the_database()
    assert plaintexts(browser.get("/docs/agents/claude-code")) == set()
    key = ApiKey.objects.get()
    assert (key.name, key.scope, key.created_by) == ("Claude Code on Linux", "inference", alice)
    assert key.budget_day_nanos == 5_000_000_000
    assert key.expires_at is not None
    assert timedelta(days=89) < key.expires_at - timezone.now() <= timedelta(days=90)
    html = answer.content.decode()
    assert f"export ANTHROPIC_AUTH_TOKEN={plaintext}" in codes(html)["shell"][1]
    assert f"Authorization: Bearer {plaintext}" in unescape(html)


def test_a_form_that_is_sent_twice_creates_one_key(browser: Client) -> None:
    for number, token in enumerate(("the same", "longer than is kept of one" * 3), 1):
        assert create(browser, "codex", token=token).status_code == 200
        again = create(browser, "codex", token=token)
        assert (again.status_code, plaintexts(again)) == (409, set())
        assert ApiKey.objects.count() == number


def test_who_may_not_create_a_key_gets_none(
    browser: Client, bob: Any, alices_team: Any, client: Client
) -> None:
    assert 'href="/accounts/login/?next=/docs/agents/zed"' in page(client, "zed")
    Membership.objects.filter(team=alices_team, user=bob).update(role=Role.BILLING)
    accountant = signed_in(bob)
    session = accountant.session
    session["team"] = alices_team.slug
    session.save()
    assert "Ask an owner" in page(accountant, "zed")
    assert accountant.post("/docs/agents/zed/key").status_code == 403
    assert browser.post("/docs/agents/streaming/key").status_code == 404
    alices_team.max_keys = 0
    alices_team.save()
    full = create(browser, "zed")
    assert full.status_code == 409
    assert "Revoke one you no longer use" in full.content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_is_created_only_after_a_recent_sign_in(alice: Any) -> None:
    alice.set_password("alices secret")
    alice.save()
    stale = signed_in(alice)
    records = [{"method": "password", "at": timezone.now().timestamp() - 86_400}]
    session = stale.session
    session["account_authentication_methods"] = records
    session.save()
    assert "reauthenticate" in create(stale, "aider").url
    assert not ApiKey.objects.exists()


def test_the_page_waits_for_the_first_call(
    browser: Client, alices_account: Any, alices_team: Any
) -> None:
    create(browser, "codex")
    key = ApiKey.objects.get()
    address = f"/docs/agents/keys/{key.pk}/first-call"
    assert browser.get(address).json() == {"status": "waiting"}
    waiting = page(browser, "codex", key=str(key.pk))
    assert f'data-first-call="{address}"' in waiting
    assert re.search(r"<p data-arrived hidden>", waiting)
    postings.grant(alices_account, 10_000_000, reference="credit", memo="Welcome")
    customer = Customer(alices_team, alices_account, key, 0)
    first = serve(customer, output_nanos=1_234_000, model="glm-5.2")
    serve(customer, output_nanos=7, model="glm-4.7")
    call = browser.get(address).json()
    assert call == {
        "status": "arrived",
        "model": "glm-5.2",
        "cost": "$0.001234000",
        "cost_nanos": 1_234_000,
        "url": f"/usage/requests/{first.request_id}",
    }
    assert browser.get(call["url"]).status_code == 200
    arrived = page(browser, "codex", key=str(key.pk))
    assert re.search(r"<p data-waiting hidden>", arrived)
    assert f'href="{call["url"]}"' in arrived


def test_another_teams_key_is_unknown(browser: Client, bob: Any) -> None:
    create(browser, "codex")
    key = ApiKey.objects.get()
    other = signed_in(bob)
    assert other.get(f"/docs/agents/keys/{key.pk}/first-call").status_code == 404
    assert "data-first-call" not in page(other, "codex", key=str(key.pk))
    for odd in ("x", "9" * 30, "-1", ""):
        assert "data-first-call" not in page(browser, "codex", key=odd)


@pytest.mark.parametrize(
    ("slug", "launch", "differs"),
    [
        ("claude-code", clients._launch_claude, {"ANTHROPIC_API_KEY"}),
        ("qwen-code", clients._launch_qwen, set()),
        ("aider", clients._launch_aider, set()),
    ],
)
def test_commands_set_what_the_real_programs_are_driven_with(
    browser: Client, slug: str, launch: Any, differs: set[str], tmp_path: Path
) -> None:
    html = page(browser, slug)
    shell = codes(html)["shell"][1]
    exports = dict(re.findall(r"export (\w+)=(.*)", shell))
    start = SimpleNamespace(
        url="http://testserver",
        api="http://testserver/v1",
        key="sk-tg-YOUR_KEY",
        model="glm-5.2",
        prompt="",
        binary=lambda name: name,
    )
    command, environment = launch(start)
    model = re.search(r"--model (\S+)|OPENAI_MODEL=(\S+)", shell)
    assert model is not None
    start.model = (model[1] or model[2]).removeprefix("openai/")
    command, environment = launch(start)
    assert set(exports) - differs <= set(environment)
    for name, value in exports.items():
        assert shlex.split(value) == [environment.get(name, "")]
    assert set(shlex.split(shell.splitlines()[-1])) <= set(command)


def test_codex_and_opencode_get_the_files_that_they_are_driven_with(
    browser: Client, tmp_path: Path
) -> None:
    (text,) = codes(page(browser, "codex"))["toml"]
    codex = tomllib.loads(text)
    (text,) = codes(page(browser, "opencode"))["json"]
    opencode = json.loads(text)
    (tmp_path / "home").mkdir()
    start = SimpleNamespace(
        url="http://testserver",
        api="http://testserver/v1",
        key="{env:TOLLGATE_KEY}",
        model=codex["model"],
        prompt="",
        binary=lambda name: name,
        home=tmp_path / "home",
        work=tmp_path,
    )
    clients._launch_codex(start)
    assert codex == tomllib.loads((tmp_path / "home/.codex/config.toml").read_text())
    clients._launch_opencode(start)
    driven = json.loads((tmp_path / "opencode.json").read_text())
    assert opencode == {"provider": driven["provider"]}


def test_cc_switch_gets_the_key_in_its_own_format(browser: Client) -> None:
    answer = create(browser, "claude-code")
    (plaintext,) = plaintexts(answer)
    link = re.search(r'href="(ccswitch:[^"]+)"', answer.content.decode())
    assert link is not None
    parts = urlsplit(unescape(link[1]))
    assert (parts.scheme, parts.netloc, parts.path) == ("ccswitch", "v1", "/import")
    fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert fields["resource"] == "provider"
    assert (fields["app"], fields["endpoint"]) == ("claude", "http://testserver")
    assert (fields["apiKey"], fields["name"]) == (plaintext, Service.objects.get().name)
    assert "ccswitch:" not in page(browser, "claude-code")
    codex = create(browser, "codex").content.decode()
    assert "endpoint=http%3A%2F%2Ftestserver%2Fv1&" in unescape(codex)


@pytest.mark.parametrize("slug", SLUGS)
def test_hostile_names_stay_text(browser: Client, slug: str) -> None:
    Service.objects.update(name="9 \"Acme\" '$(id)' <b>\\")
    html = page(browser, slug)
    assert "<b>" not in html
    for text in codes(html).get("toml", []):
        assert tomllib.loads(text)["model_providers"]
    for text in codes(html).get("json", []):
        assert json.loads(text)
    for text in codes(html)["shell"] if slug not in {"cursor", "zed"} else []:
        assert all("$(id)" not in word for line in text.splitlines() for word in shlex.split(line))
