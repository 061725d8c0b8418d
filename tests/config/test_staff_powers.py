"""No permission makes staff more than they are: each one, on every page of the admin."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import models
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Membership, Team, User
from api.models import ChatJob, Upstream, UpstreamKey, VideoJob
from api.upstream_keys import secret_of, store_secret
from billing.models import Order
from tests.cast import IssuedKey, issue, member, signed_in
from tests.config.admin_rows import add_rows
from tests.support.sampling import sampled

pytestmark = pytest.mark.django_db

SEED, KEY = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "sk-upstream-abcdefghijkl-1234"
URL = "https://api.maker.example/v1"
SECRET, FORM = "the secret key of the environment", "application/x-www-form-urlencoded"
KEY_RULES = ["name", "expires_at", "requests_per_minute", "tokens_per_minute", "budget_day_nanos"]
# The models whose rows make somebody what they are.
POWERFUL = [User, Group, Membership, ApiKey, Upstream, UpstreamKey, Team]


class World:
    """A clerk, whose permissions change; a superuser; customers; and what must stay secret."""

    def __init__(self) -> None:
        add_rows(1)
        self.alice, self.team = member("alice@example.com", "alices secret", "Alice")
        self.boss = User.objects.create_superuser("boss@example.com", "boss secret")
        self.clerk, self.clerks_team = member("clerk@example.com", "clerks secret", "Clerk")
        self.clerk.is_staff = True
        self.clerk.save()
        self.admins = Group.objects.create(name="Administrators")
        self.admins.permissions.set(Permission.objects.all())
        self.clerks = Group.objects.create(name="Clerks")
        self.clerk.groups.add(self.clerks)
        TOTP.activate(self.boss, SEED)
        recovery = RecoveryCodes.activate(self.boss)
        app = SocialApp.objects.create(provider="google", name="g", secret="social app secret")
        account = SocialAccount.objects.create(user=self.boss, provider="google", uid="1")
        SocialToken.objects.create(app=app, account=account, token="social token")
        signed_in(self.boss)
        self.upstream = Upstream.objects.create(name="maker", base_url=URL)
        self.upstream_key = UpstreamKey(upstream=self.upstream)
        store_secret(self.upstream_key, KEY, timezone.now())
        self.upstream_key.save()
        self.variable = Upstream.objects.create(name="variable", base_url=URL)
        self.variable_key = self.variable.keys.create(api_key_env="UPSTREAM_MAKER")
        self.evil = Upstream.objects.create(name="evil-one", base_url="https://evil.example/v1")
        self.key: IssuedKey = issue(self.team, self.alice, "alice's")
        self.clerks_key = issue(self.clerks_team, self.clerk, "clerk's")
        self.secrets = [
            *(SEED, KEY, SECRET, get_adapter().decrypt(recovery.instance.data["seed"])),
            *("social app secret", "social token", self.key.plaintext, settings.SECRET_KEY),
            *Session.objects.values_list("session_key", flat=True),
            *User.objects.values_list("password", flat=True),
            *(key.hex() for key in settings.API_KEY_PEPPERS.values()),
            *(key.hex() for key in settings.ENCRYPTION_KEYS.values()),
        ]

    def may_only(self, permission: Permission) -> Client:
        """Return the clerk's browser, with this permission alone."""
        self.clerk.user_permissions.set([permission])
        return signed_in(User.objects.get(pk=self.clerk.pk))

    def powers(self) -> dict[str, Any]:
        """Return all that makes somebody what they are."""
        through = [User.groups.through, User.user_permissions.through, Group.permissions.through]
        customers = ("email", "password", "is_staff", "is_superuser")
        staff = User.objects.filter(is_staff=True)
        own = Team.objects.filter(pk=self.clerks_team.pk)
        own_keys = ApiKey.objects.filter(team=self.clerks_team)
        tables = [Membership, EmailAddress, Authenticator, SocialAccount, SocialApp, *through]
        return {
            "users": list(User.objects.order_by("pk").values("pk", *customers)),
            "staff": list(staff.order_by("pk").values("pk", "is_active", "name")),
            "keys": list(ApiKey.objects.order_by("pk").values("pk", "team", "scope", "digest")),
            "own": [*own.values(), *own_keys.values(*KEY_RULES)],
            **{str(table): list(table.objects.order_by("pk").values()) for table in tables},
            "sent": {
                (each.base_url, key) for each in Upstream.objects.all() if (key := sent(each))
            },
        }

    def rows_of(self, model: Any) -> list[Any]:
        """Return the rows of a model whose pages are tried."""
        chosen = {
            User: [self.clerk, self.boss, self.alice],
            Group: [self.clerks, self.admins],
            Membership: [self.team.memberships.get(), self.clerks_team.memberships.get()],
            ApiKey: [self.key.key, self.clerks_key.key],
            Upstream: [self.upstream, self.variable],
            UpstreamKey: [self.upstream_key, self.variable_key],
            Team: [self.team, self.clerks_team],
        }
        return chosen.get(model) or list(model._default_manager.order_by("-pk")[:1])


def sent(upstream: Upstream) -> str:
    """Return the key that is sent to an upstream's address."""
    return secret_of(upstream)


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world before a clerk tries something."""
    monkeypatch.setenv("SECRET_KEY", SECRET)
    monkeypatch.setenv("UPSTREAM_MAKER", KEY)
    return World()


class FormReader(HTMLParser):
    """The fields of a page's forms, with their values, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a field."""
        given = {"value": "on" if ("type", "checkbox") in attrs else ""}
        given |= {name: value or "" for name, value in attrs}
        if tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and "selected" in given and self._select:
            self.fields.setdefault(self._select, []).append(given.get("value", ""))
        elif tag in {"input", "textarea"} and given.get("name"):
            is_button = given.get("type") in {"checkbox", "radio", "submit"}
            if not is_button or "checked" in given:
                self.fields.setdefault(given["name"], []).append(given.get("value", ""))


def evil_fields(world: World) -> dict[str, Any]:
    """Return what a clerk would like to send."""
    types = ContentType.objects.get_for_models(*POWERFUL).values()
    every = list(Permission.objects.filter(content_type__in=types).values_list("pk", flat=True))
    return {
        **dict.fromkeys(("is_superuser", "is_staff", "is_active", "verified", "primary"), "on"),
        "groups": [world.admins.pk],
        **dict.fromkeys(("user_permissions", "permissions"), every),
        "user": world.clerk.pk,
        "team": world.team.pk,
        "role": "owner",
        "scope": "management",
        "name": "evil",
        "email": "evil@example.com",
        "uid": "evil",
        "password": "x",
        **dict.fromkeys(("password1", "password2"), "Evil horse 1"),
        "usable_password": "true",
        "requests_per_minute": "999999",
        "api_key_env": "SECRET_KEY",
        "base_url": "https://evil.example/v1",
        "upstream": world.evil.pk,
        **dict.fromkeys(("plan", "budget_day_nanos"), "1"),
        "suspended_reason": "evil",
        "forgets_key": "",
    }


def try_everything(world: World, browser: Client, model: Any) -> Iterator[str]:
    """Use every page of a model, and yield what they show."""
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    rows = world.rows_of(model)
    pages = [f"{base}{row.pk}/{page}/" for row in rows for page in ("change", "history", "delete")]
    if model is User:
        pages += [reverse("admin:auth_user_password_change", args=[row.pk]) for row in rows]
    evil = {**evil_fields(world), "post": "yes"}
    for url in (base, f"{base}add/", *pages):
        page = browser.get(url)
        yield page.content.decode()
        # What a form does not have, it ignores: it is as valid as with its own fields alone.
        fields = FormReader(page.content.decode()).fields if page.status_code == 200 else {}
        sent = urlencode({**fields, **evil}, doseq=True)  # ten times as fast to read as multipart
        yield browser.post(url, sent, content_type=FORM).content.decode()
    for action in admin.site._registry[model].actions or ():
        name = action if isinstance(action, str) else action.__name__
        chosen = {"action": name, "_selected_action": [row.pk for row in rows]}
        yield browser.post(base, chosen).content.decode()


def open_pages(world: World) -> set[Any]:
    """Return the models with a page that is open to the clerk."""
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(pk=world.clerk.pk)
    kinds = ("view", "add", "change", "delete")
    return {
        model
        for model, page in admin.site._registry.items()
        if any(getattr(page, f"has_{kind}_permission")(request) for kind in kinds)
    }


def permissions_of(model: Any) -> list[Permission]:
    label, name = model._meta.app_label, model._meta.model_name
    found = Permission.objects.filter(content_type__app_label=label, content_type__model=name)
    return list(found)


def try_permissions_of(world: World, model: Any) -> None:
    """Try each of a model's permissions on each of its pages. Fail where it is worth anything."""
    for permission in permissions_of(model):
        browser = world.may_only(permission)
        before = world.powers()
        for text in try_everything(world, browser, model):
            shown = [secret for secret in world.secrets if secret in text]
            assert shown == [], permission
        after = world.powers()
        assert after.pop("sent") <= before.pop("sent"), permission  # an upstream may be deleted
        assert after == before, permission


def test_a_permission_opens_the_pages_of_its_model_alone(world: World) -> None:
    tried = set()
    for permission in Permission.objects.select_related("content_type"):
        world.clerk.user_permissions.set([permission])
        assert open_pages(world) <= {permission.content_type.model_class()}, permission
        tried.add(permission.codename)
    assert {"add_emailaddress", "change_user", "view_session", "change_refund"} <= tried


@pytest.mark.usefixtures("bare_pages")
@pytest.mark.parametrize("model", POWERFUL, ids=lambda model: model.__name__)
def test_no_permission_makes_a_clerk_more_or_shows_a_secret(world: World, model: Any) -> None:
    try_permissions_of(world, model)


@pytest.mark.usefixtures("bare_pages")
def test_nor_does_a_permission_of_any_other_model(world: World) -> None:
    for model in sampled(sorted(set(admin.site._registry) - set(POWERFUL), key=str), 3):
        try_permissions_of(world, model)


def test_only_models_of_ours_groups_and_the_log_have_pages() -> None:
    ours = {"accounts", "billing", "api"}
    others = {each for each in admin.site._registry if each._meta.app_label not in ours}
    assert others == {Group, LogEntry}
    with pytest.raises(NoReverseMatch):
        reverse("admin:account_emailaddress_add")


# What superusers can do, and the log entries of everyone's actions


@pytest.fixture
def boss(world: World) -> Client:
    """The superuser's browser."""
    return signed_in(world.boss)


def fields_of(browser: Client, url: str) -> dict[str, Any]:
    return dict(FormReader(browser.get(url).content.decode()).fields)


def test_what_staff_do_to_a_team_is_in_its_audit_log_and_in_the_staff_log(
    world: World, boss: Client
) -> None:
    own = world.team.memberships.get()
    bob, _ = member("bob@example.com", None, "Bob")
    add = {"user": bob.pk, "team": world.team.pk, "role": "developer"}
    changes: list[tuple[str, dict[str, Any], str, str]] = [
        (f"accounts/team/{world.team.pk}/change/", {"name": "New"}, "team.changed", "New"),
        (f"accounts/user/{world.alice.pk}/change/", {"name": "A"}, "account.changed", "alice@"),
        ("accounts/membership/add/", add, "member.added", "bob@example.com"),
        (f"accounts/membership/{own.pk}/change/", {"role": "admin"}, "member.changed", "alice@"),
        (f"accounts/apikey/{world.key.key.pk}/change/", {"name": "n"}, "key.updated", "n ("),
        (f"accounts/membership/{own.pk}/delete/", {"post": "yes"}, "member.removed", "alice@"),
    ]
    for path, change, action, subject in changes:
        url = f"/admin/{path}"
        answer = boss.post(url, {**fields_of(boss, url), **change})
        assert answer.status_code == 302, answer.context["adminform"].form.errors
        entry = AuditEntry.objects.filter(team=world.team).latest("pk")
        assert (entry.action, entry.actor) == (action, world.boss)
        assert entry.subject.startswith(subject)
        assert entry.actor_label == "staff", "neither their address"
        assert entry.ip_address is None, "nor where they are"
        logged = LogEntry.objects.latest("pk")
        assert logged.user == world.boss
    page = boss.get("/admin/admin/logentry/", {"q": "alice"}).content.decode()
    assert page.count("alice@example.com") >= 3
    assert "No fields changed" not in page


def test_a_change_of_nothing_is_not_in_the_teams_log(world: World, boss: Client) -> None:
    url = f"/admin/accounts/team/{world.team.pk}/change/"
    assert boss.post(url, fields_of(boss, url)).status_code == 302
    assert not AuditEntry.objects.filter(team=world.team).exists()


def test_the_password_that_a_superuser_sets_is_in_both_logs_but_not_in_words(
    world: World, boss: Client
) -> None:
    url = reverse("admin:auth_user_password_change", args=[world.alice.pk])
    new = {"password1": "Another horse 1", "password2": "Another horse 1"}
    assert boss.post(url, {**new, "usable_password": "true"}).status_code == 302
    entry = AuditEntry.objects.filter(team=world.team).get()
    assert (entry.action, entry.detail) == ("account.changed", {"fields": ["password"]})
    assert "horse" not in LogEntry.objects.latest("pk").change_message


def test_a_new_address_is_the_only_one_to_sign_in_with(world: World, boss: Client) -> None:
    url = f"/admin/accounts/user/{world.alice.pk}/change/"
    change = {**fields_of(boss, url), "email": "New@example.com"}
    assert boss.post(url, change).status_code == 302
    addresses = EmailAddress.objects.filter(user=world.alice).values_list("email", "verified")
    assert list(addresses) == [("new@example.com", False)]


def test_superusers_remove_second_factors_that_were_lost(world: World, boss: Client) -> None:
    TOTP.activate(world.alice, SEED)
    page = boss.get(f"/admin/accounts/user/{world.alice.pk}/change/").content.decode()
    assert "TOTP Authenticator" in page
    action = {"action": "remove_second_factors", "_selected_action": [world.alice.pk]}
    boss.post("/admin/accounts/user/", action)
    assert list(Authenticator.objects.values_list("user", flat=True)) == [world.boss.pk] * 2
    entry = AuditEntry.objects.filter(team=world.team).get()
    assert entry.detail == {"fields": ["Second factors"]}


def test_the_staff_log_is_for_those_who_may_read_it_and_for_reading_alone(world: World) -> None:
    LogEntry.objects.log_actions(world.boss.pk, [world.team], 2, "Tried.", single_object=True)
    entry = LogEntry.objects.get()
    url = f"/admin/admin/logentry/{entry.pk}/"
    reader = world.may_only(Permission.objects.get(codename="view_logentry"))
    page = reader.get("/admin/admin/logentry/", {"user__id__exact": world.boss.pk})
    assert "Tried." in page.content.decode()
    assert "boss@example.com" in reader.get(f"{url}change/").content.decode()
    for page in ("change", "delete"):
        assert reader.post(f"{url}{page}/", {"post": "yes"}).status_code == 403
    other = world.may_only(Permission.objects.get(codename="delete_logentry"))
    assert other.get("/admin/admin/logentry/").status_code == 403
    assert signed_in(world.boss).post(f"{url}delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("is_own", [True, False])
def test_staff_refund_no_order_of_their_own_team(world: World, is_own: bool) -> None:
    team = world.clerks_team if is_own else world.team
    order = Order.objects.create(team=team, amount_cents=500, credit_nanos=5, is_live=False)
    clerk = world.may_only(Permission.objects.get(codename="add_refund"))
    clerk_user = User.objects.get(pk=world.clerk.pk)
    clerk_user.user_permissions.add(Permission.objects.get(codename="view_order"))
    page = clerk.get(f"/admin/billing/order/{order.pk}/refund/")
    assert page.status_code == (403 if is_own else 200)


@pytest.mark.parametrize(
    ("model", "column"), [(ChatJob, "body"), (ChatJob, "answer"), (VideoJob, "url")]
)
def test_what_customers_say_can_be_neither_read_nor_guessed(
    world: World, model: Any, column: str
) -> None:
    said = "https://what-a-customer-said.example"
    job = model.objects.latest("pk")
    model.objects.update(**{column: said})
    name = model._meta.model_name
    clerk = world.may_only(Permission.objects.get(codename=f"view_{name}"))
    shown = clerk.get(f"/admin/api/{name}/{job.pk}/change/")
    assert shown.status_code == 200
    assert "what-a-customer-said" not in shown.content.decode()
    for lookup in (column, f"{column}__startswith", f"{column}__gt"):
        assert clerk.get(f"/admin/api/{name}/", {lookup: "h"}).status_code == 400


def test_what_was_changed_without_a_form_is_in_the_staff_log(world: World, boss: Client) -> None:
    for model, action in (
        ("billing/ledgeralert", "mark_as_handled"),
        ("accounts/apikey", "revoke"),
    ):
        row: models.Model = apps.get_model(*model.split("/")).objects.order_by("pk").last()
        chosen = {"action": action, "_selected_action": [row.pk]}
        assert boss.post(f"/admin/{model}/", chosen).status_code == 302
        logged = LogEntry.objects.latest("pk")
        assert (logged.user, logged.object_id) == (world.boss, str(row.pk))
        assert re.fullmatch(r"Handled\.|Revoked\.", logged.get_change_message())
