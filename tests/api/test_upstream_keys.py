"""Upstreams' keys: what is stored, what is sent, and what staff see."""

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from api.catalogue.snapshot import load_snapshot
from api.models import Model, Route, Upstream, UpstreamKey
from api.tasks import encrypt_secrets
from api.upstream_keys import encrypt_key, end_of, read_key, secret_of
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
    return secret_of(Upstream.objects.get(pk=upstream.pk))


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
    stored = maker.keys.get().encrypted_key
    assert all(stored not in text for text in seen[:-1])
    assert LogEntry.objects.count() == 1


@pytest.mark.django_db
def test_another_key_can_be_typed_or_the_key_be_forgotten(staff: Client, maker: Upstream) -> None:
    assert save(staff).status_code == 302
    maker.refresh_from_db()
    assert key_of(maker) == KEY, "an empty field changes nothing"
    assert save(staff, new_key=NEXT_KEY).status_code == 302
    maker.refresh_from_db()
    assert (key_of(maker), maker.keys.get().key_end) == (NEXT_KEY, "5678")
    assert save(staff, forgets_key="on").status_code == 302
    maker.refresh_from_db()
    assert (key_of(maker), maker.keys.count()) == ("", 0)


@pytest.mark.django_db
@pytest.mark.parametrize("source", ["stored", "variable"])
def test_a_key_never_goes_to_another_address(
    staff: Client, maker: Upstream, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "variable":
        monkeypatch.setenv("UPSTREAM_MAKER", KEY)
        UpstreamKey.objects.update(encrypted_key="", api_key_env="UPSTREAM_MAKER")
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
    assert not upstream.keys.exists(), "only a catalogue file names a variable"
    row = UpstreamKey.objects.create(upstream=upstream)
    for name, key in (("SECRET_KEY", ""), ("UPSTREAM_MAKER", KEY), ("MAKER", KEY)):
        row.api_key_env = name
        row.save()
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
    assert before.ordered[0].routes[0].upstream.encrypted_key == maker.keys.get().encrypted_key
    save(staff, new_key=NEXT_KEY)
    after = load_snapshot()
    assert after.version > before.version
    assert (
        after.ordered[0].routes[0].upstream.encrypted_key
        != before.ordered[0].routes[0].upstream.encrypted_key
    )


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


def routed(upstream: Upstream) -> list[Any]:
    """Give the upstream a model if it has none, and return the entries of its route."""
    if not Model.objects.exists():
        product = Product.objects.create(sku="m")
        PriceVersion.objects.create(product=product, effective_from="2020-01-01T00:00Z")
        model = Model.objects.create(name="m", product=product)
        Route.objects.create(model=model, upstream=upstream, upstream_model="m")
    return [route.upstream for route in load_snapshot().ordered[0].routes]


def key_form(**changes: Any) -> dict[str, Any]:
    return {"name": "spare", "is_enabled": "on", "weight": "1", "new_key": NEXT_KEY, **changes}


@pytest.fixture
def spare(staff: Client, maker: Upstream) -> UpstreamKey:
    """A second key, which was typed in the admin."""
    url = reverse("admin:api_upstreamkey_add")
    form = key_form(upstream=maker.pk, requests_per_minute="60", weight="3")
    assert staff.post(url, form).status_code == 302
    return UpstreamKey.objects.get(name="spare")


@pytest.mark.django_db
def test_a_route_is_tried_by_each_of_its_keys(maker: Upstream, spare: UpstreamKey) -> None:
    first, second = routed(maker)
    assert (first.key_name, first.requests_per_minute, first.has_rates) == ("default", None, False)
    assert (second.key_name, second.requests_per_minute, second.key_weight) == ("spare", 60, 3)
    assert first.has_other_keys
    assert second.has_other_keys
    assert [read_key(each.base_url, each.encrypted_key, "") for each in (first, second)] == [
        KEY,
        NEXT_KEY,
    ]
    UpstreamKey.objects.filter(name="default").update(is_enabled=False)
    (only,) = routed(maker)
    assert (only.key_name, only.has_other_keys) == ("spare", False)
    UpstreamKey.objects.update(is_enabled=False)
    assert routed(maker) == [], "not even without a key"
    UpstreamKey.objects.all().delete()
    (keyless,) = routed(maker)
    assert (keyless.key_id, keyless.encrypted_key) == (0, "")


@pytest.mark.django_db
def test_a_key_drains_alone(staff: Client, maker: Upstream, spare: UpstreamKey) -> None:
    routed(maker)
    url = reverse("admin:api_upstreamkey_changelist")
    staff.post(url, {"action": "drain", "_selected_action": [spare.pk]})
    entry = load_snapshot().ordered[0]
    assert [route.upstream.key_name for route in entry.in_service(timezone.now()).routes] == [
        "default"
    ]
    assert "Drained since" in staff.get(url).content.decode()
    staff.post(url, {"action": "end_drain", "_selected_action": [spare.pk]})
    staff.post(url, {"action": "disable", "_selected_action": [spare.pk]})
    assert [each.key_name for each in routed(maker)] == ["default"]
    staff.post(url, {"action": "enable", "_selected_action": [spare.pk]})
    assert len(routed(maker)) == 2
    texts = LogEntry.objects.filter(object_id=spare.pk).values_list("change_message", flat=True)
    assert {"Drained.", "Drain ended.", "Disabled.", "Enabled."} <= set(texts)


@pytest.mark.django_db
def test_a_second_key_is_rotated_by_itself_and_never_shown(
    staff: Client, maker: Upstream, spare: UpstreamKey
) -> None:
    url = reverse("admin:api_upstreamkey_change", args=[spare.pk])
    pages = [
        staff.get(url).content.decode(),
        staff.get(reverse("admin:api_upstream_change", args=[maker.pk])).content.decode(),
    ]
    assert all("…5678" in page for page in pages)
    assert all(NEXT_KEY not in text for text in (*pages, everything_in_the_database()))
    rotated = "sk-live-rotated-abcdefgh-9999"
    assert staff.post(url, key_form(new_key=rotated)).status_code == 302
    spare.refresh_from_db()
    assert read_key(maker.base_url, spare.encrypted_key, "") == rotated
    assert key_of(maker) == KEY
    assert staff.post(url, key_form(new_key="")).status_code == 302
    spare.refresh_from_db()
    assert spare.key_end == "9999", "an empty field changes nothing"
    for problem, form in (
        ("name", key_form(name="default")),
        ("new_key", key_form(new_key="sk-é")),
        ("requests_per_minute", key_form(requests_per_minute="0")),
    ):
        assert staff.post(url, form).context["adminform"].form.errors.keys() == {problem}


@pytest.mark.django_db
def test_several_keys_are_not_sent_to_another_address(
    staff: Client, maker: Upstream, spare: UpstreamKey
) -> None:
    url = reverse("admin:api_upstream_change", args=[maker.pk])
    management = {"keys-TOTAL_FORMS": "2", "keys-INITIAL_FORMS": "2"}
    management |= {f"keys-{n}-id": str(key.pk) for n, key in enumerate(maker.keys.order_by("pk"))}
    elsewhere = {**FORM, **management, "base_url": "https://evil.example/v1", "new_key": "sk-new"}
    assert staff.post(url, elsewhere).context["adminform"].form.errors.keys() == {"base_url"}
    renamed = {**FORM, **management, "name": "other", "new_key": "sk-new", "forgets_key": "on"}
    assert staff.post(url, renamed).status_code == 302
    maker.refresh_from_db()
    assert (maker.name, maker.base_url) == ("other", FORM["base_url"])
    assert [read_key(maker.base_url, each.encrypted_key, "") for each in maker.keys.all()] == [
        KEY,
        NEXT_KEY,
    ]


@pytest.mark.django_db
def test_what_the_last_release_writes_becomes_a_key(
    maker: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_OLD", KEY)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO api_upstream (name, base_url, api_key_env, is_enabled, max_concurrency,"
            " connect_timeout_seconds, first_token_timeout_seconds, idle_timeout_seconds,"
            " total_timeout_seconds, drains_on_disconnect)"
            " VALUES ('old', 'https://old.example/v1', '', true, 1, 1, 1, 1, 1, false)"
        )
        old = Upstream.objects.get(name="old")
        assert not old.keys.exists()
        cursor.execute("UPDATE api_upstream SET api_key_env = 'UPSTREAM_OLD' WHERE name = 'old'")
        assert key_of(old) == KEY
        cursor.execute("UPDATE api_upstream SET max_concurrency = 2")
    assert key_of(old) == KEY
    assert key_of(maker) == KEY
