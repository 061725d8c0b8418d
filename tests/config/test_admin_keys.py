"""Staff's pages of API keys: a plaintext that is shown once, rules that change, revocation."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.api_keys import find_active
from accounts.models import ApiKey, AuditEntry, Team, User
from api.models import Service
from tests.cast import everything_in_the_database

pytestmark = pytest.mark.django_db


def url(page: str, *arguments: Any) -> str:
    return reverse(f"admin:accounts_apikey_{page}", args=arguments)


def key_form(**changes: str) -> dict[str, str]:
    moment = {"expires_at_0": "", "expires_at_1": ""}
    return {"name": "CI", "scope": "inference", "allowed_models": "a,b", **moment, **changes}


def test_a_new_keys_plaintext_is_on_the_answer_and_nowhere_else(staff: Client, alices_team) -> None:
    Service.objects.create(key_prefix="sk-new-")
    form = key_form(team=str(alices_team.pk), budget_day_nanos="1.50")
    response = staff.post(url("add"), form)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    plaintext = re.search(r'id="api-key">([^<]+)<', response.content.decode())[1]
    key = find_active(plaintext)
    assert (key.team, key.prefix, key.allowed_models) == (alices_team, "sk-new-", ["a", "b"])
    assert key.budget_day_nanos == 1_500_000_000
    assert key.created_by.email == "staff@example.com"
    assert plaintext not in everything_in_the_database()
    for page in (url("changelist"), url("change", key.pk)):
        shown = staff.get(page).content.decode()
        assert plaintext not in shown
        assert key.digest.hex() not in shown


def test_a_keys_rules_change_and_its_facts_do_not(staff: Client, alices_key, charlies_team) -> None:
    before = ApiKey.objects.values().get()
    form = key_form(
        name="New name",
        team=str(charlies_team.pk),
        scope="management",
        digest="00",
        revoked_at_0="2020-01-01",
        requests_per_minute="7",
    )
    response = staff.post(url("change", alices_key.key.pk), form)
    assert response.status_code == 302
    after = ApiKey.objects.values().get()
    assert (after["name"], after["requests_per_minute"]) == ("New name", 7)
    for fact in ("team_id", "scope", "digest", "prefix", "last_four", "revoked_at", "created_at"):
        assert after[fact] == before[fact]


def test_keys_are_revoked_from_the_list(staff: Client, alices_key, charlies_key) -> None:
    action = {"action": "revoke", "_selected_action": [alices_key.key.pk]}
    staff.post(url("changelist"), action)
    assert find_active(alices_key.plaintext) is None
    assert find_active(charlies_key.plaintext) == charlies_key.key


def test_what_staff_do_to_a_key_is_in_the_teams_log(
    staff: Client, alices_team: Team, alices_key, charlies_key
) -> None:
    User.objects.filter(email="staff@example.com").update(name="Sam")
    Service.objects.create(key_prefix="sk-new-")
    staff.post(url("add"), key_form(team=str(alices_team.pk)))
    made = ApiKey.objects.latest("pk")
    form = key_form(name="New name", allowed_models="", requests_per_minute="7")
    for _ in range(2):  # the second changes nothing
        staff.post(url("change", alices_key.key.pk), form)
    action = {"action": "revoke", "_selected_action": [alices_key.key.pk]}
    for _ in range(2):
        staff.post(url("changelist"), action)
    alices_key.key.refresh_from_db()
    entries = AuditEntry.objects.order_by("pk")
    assert [(each.action, each.subject, each.detail) for each in entries] == [
        ("key.created", str(made), {"scope": "inference"}),
        ("key.updated", str(alices_key.key), {"fields": ["name", "requests_per_minute"]}),
        ("key.revoked", str(alices_key.key), {}),
    ]
    told = {(each.team, each.actor_label, each.ip_address) for each in entries}
    assert told == {(alices_team, "staff: Sam", None)}
