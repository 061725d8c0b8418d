"""Upstreams' keys: what is stored, what is sent, and what staff see."""

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from accounts.models import User
from api.catalogue.snapshot import load_snapshot
from api.models import Model, Route, Upstream
from api.tasks import encrypt_secrets
from api.upstream_keys import encrypt_key, end_of, read_key
from billing.models import PriceVersion, Product
from tests.api.gateway.upstream import Upstream as UpstreamServer
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, in_loop
from tests.cast import everything_in_the_database

KEY, NEXT_KEY = "sk-live-abcdefghijkl-1234", "sk-live-mnopqrstuvwx-5678"
FORM = {
    "name": "maker",
    "dialect": "openai_chat",
    "is_enabled": "on",
    "base_url": "https://api.maker.example/v1",
    "max_concurrency": "1",
    "connect_timeout_seconds": "1",
    "first_token_timeout_seconds": "1",
    "idle_timeout_seconds": "1",
    "total_timeout_seconds": "1",
}


def save(staff: Client, **changes: str) -> Any:
    """Save the one upstream's form, or add it; return the answer."""
    upstream = Upstream.objects.first()
    page = ("change", [upstream.pk]) if upstream else ("add", [])
    url = reverse(f"admin:api_upstream_{page[0]}", args=page[1])
    return staff.post(url, {**FORM, **changes})


def key_of(upstream: Upstream) -> str:
    return read_key(upstream.base_url, upstream.encrypted_key, upstream.api_key_env)


@pytest.fixture
def maker(staff: Client) -> Upstream:
    """An upstream whose key was typed in the admin."""
    assert save(staff, new_key=KEY).status_code == 302
    return Upstream.objects.get()


@pytest.mark.django_db
def test_a_typed_key_is_stored_encrypted_and_never_shown_again(
    staff: Client, maker: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    assert key_of(maker) == KEY
    pages = [
        staff.get(reverse("admin:api_upstream_changelist")).content.decode(),
        staff.get(reverse("admin:api_upstream_change", args=[maker.pk])).content.decode(),
        staff.get(reverse("admin:api_upstream_history", args=[maker.pk])).content.decode(),
        save(staff, new_key=NEXT_KEY, base_url="no address").content.decode(),
    ]
    assert all("…1234" in page for page in pages[:2])
    seen = [*pages, caplog.text, everything_in_the_database()]
    for text in seen:
        assert KEY not in text
        assert NEXT_KEY not in text
    assert all(maker.encrypted_key not in text for text in seen[:-1])
    assert LogEntry.objects.count() == 1


@pytest.mark.django_db
def test_another_key_can_be_typed_or_the_key_be_forgotten(staff: Client, maker: Upstream) -> None:
    assert save(staff).status_code == 302
    maker.refresh_from_db()
    assert key_of(maker) == KEY, "an empty field changes nothing"
    assert save(staff, new_key=NEXT_KEY).status_code == 302
    maker.refresh_from_db()
    assert (key_of(maker), maker.key_end) == (NEXT_KEY, "5678")
    assert save(staff, forgets_key="on").status_code == 302
    maker.refresh_from_db()
    assert (key_of(maker), maker.key_end, maker.key_set_at) == ("", "", None)


@pytest.mark.django_db
@pytest.mark.parametrize("source", ["stored", "variable"])
def test_a_key_never_goes_to_another_address(
    staff: Client, maker: Upstream, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "variable":
        monkeypatch.setenv("UPSTREAM_MAKER", KEY)
        Upstream.objects.update(encrypted_key="", api_key_env="UPSTREAM_MAKER")
    for url in ("https://evil.example/v1", "https://api.maker.example/v2"):
        page = save(staff, base_url=url)
        assert page.context["adminform"].form.errors.keys() == {"new_key"}
    maker.refresh_from_db()
    assert key_of(maker) == KEY
    assert save(staff, base_url="https://evil.example/v1", new_key="none").status_code == 302
    assert save(staff, base_url="https://evil.example/v1", forgets_key="on").status_code == 302
    maker.refresh_from_db()
    assert key_of(maker) == ""


@pytest.mark.django_db
def test_nothing_but_variables_for_upstreams_is_read(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "the secret key")
    monkeypatch.setenv("UPSTREAM_MAKER", KEY)
    save(staff, api_key_env="UPSTREAM_MAKER")
    upstream = Upstream.objects.get()
    assert upstream.api_key_env == "", "only a catalogue file names a variable"
    for name, key in (("SECRET_KEY", ""), ("UPSTREAM_MAKER", KEY), ("MAKER", KEY)):
        upstream.api_key_env = name
        assert key_of(upstream) == key


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["sk-é", "sk-\n1"])
def test_a_key_that_no_header_can_carry_is_refused(staff: Client, key: str) -> None:
    save(staff, new_key=KEY)
    assert "new_key" in save(staff, new_key=f"a{key}b").context["adminform"].form.errors


@pytest.mark.parametrize("key", ["", "short", "sk-123456789012"])
def test_of_a_short_key_nothing_is_shown(key: str) -> None:
    assert end_of(key) == ""


@in_loop
async def test_a_rotated_key_is_sent_without_a_restart() -> None:
    server = UpstreamServer(answer(completion()))
    async with World(upstreams=[server]) as world:
        for version, key in enumerate((KEY, NEXT_KEY), start=2):
            url = f"http://127.0.0.1:{server.port}/v1"
            world._upstream = {"encrypted_key": encrypt_key(key, url)}
            world.gate.catalogue_version = version
            world.gateway.catalogue.current = world.snapshot(version)
            assert (await world.chat()).status == 200
            assert f"authorization: bearer {key}" in server.heads[-1].lower()


@in_loop
async def test_a_key_for_another_address_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    stored = {"encrypted_key": encrypt_key(KEY, "https://api.maker.example/v1")}
    async with World(answer(completion()), upstream=stored) as world:
        reply = await world.chat()
    assert (reply.status, world.upstream.calls) == (502, [])
    assert "decrypt" not in reply.body.decode()


@pytest.mark.django_db
def test_the_snapshot_has_the_ciphertext_and_a_new_version(staff: Client, maker: Upstream) -> None:
    product = Product.objects.create(sku="m")
    PriceVersion.objects.create(product=product, effective_from="2020-01-01T00:00Z")
    model = Model.objects.create(name="m", product=product)
    Route.objects.create(model=model, upstream=maker, upstream_model="m")
    before = load_snapshot()
    assert before.ordered[0].routes[0].upstream.encrypted_key == maker.encrypted_key
    save(staff, new_key=NEXT_KEY)
    after = load_snapshot()
    assert after.version > before.version
    assert after.ordered[0].routes[0].upstream.encrypted_key != maker.encrypted_key


@pytest.mark.django_db
def test_older_keys_are_replaced_by_the_newest(settings: Any, maker: Upstream, alice: User) -> None:
    plain = {"secret": "JBSWY3DPEHPK3PXP"}
    Authenticator.objects.create(user=alice, type="totp", data=plain)
    codes = {"seed": "ab" * 40, "used_mask": 3}
    Authenticator.objects.create(user=alice, type="recovery_codes", data=codes)
    Authenticator.objects.create(user=alice, type="webauthn", data={"credential": {}})
    assert encrypt_secrets() == 2, "plaintext"
    assert encrypt_secrets() == 0
    settings.ENCRYPTION_KEYS = {**settings.ENCRYPTION_KEYS, 8: b"8" * 32}
    assert encrypt_secrets() == 3
    rows = everything_in_the_database()
    assert rows.count("enc:8:") == 3
    assert "enc:1:" not in rows
    assert "JBSWY3DP" not in rows
    settings.ENCRYPTION_KEYS = {8: b"8" * 32}
    maker.refresh_from_db()
    assert key_of(maker) == KEY
    assert Authenticator.objects.get(type="recovery_codes").data["used_mask"] == 3
    said = StringIO()
    call_command("encrypt_secrets", "--undo", stdout=said)
    assert said.getvalue() == "Rows changed: 2.\n"
    assert Authenticator.objects.get(type="totp").data == plain
    assert Authenticator.objects.get(type="recovery_codes").data == codes


@pytest.mark.django_db
def test_a_key_that_is_gone_is_said(settings: Any, maker: Upstream) -> None:
    settings.ENCRYPTION_KEYS = {9: b"9" * 32}
    with pytest.raises(CommandError, match="Version 1 of ENCRYPTION_KEYS"):
        call_command("encrypt_secrets")
