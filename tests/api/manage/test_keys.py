"""`keys`, `keys/{id}` and `keys/{id}/rotate`: what they take, keep and show."""

import json
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import api_keys, keys
from accounts.models import ApiKey
from api.models import Service
from tests.api.manage.conftest import Caller
from tests.cast import everything_in_the_database, issue, signed_in

pytestmark = pytest.mark.django_db

EVERY_RULE = {
    "name": "CI",
    "allowed_models": ["glm-5.2", "glm-4.7"],
    "requests_per_minute": 10,
    "tokens_per_minute": 1_000,
    "budget_day": "0.5",
    "budget_month": "12.000000001",
    "budget_total": 100,
}
SHOWN = [
    *("object", "id", "name", "scope", "prefix", "last_four", "created_at", "created_by"),
    *("last_used_at", "expires_at", "revoked_at", "frozen_at", "replaced_by", "allowed_models"),
    *("requests_per_minute", "tokens_per_minute", "budget_day", "budget_month", "budget_total"),
]


def test_a04_a_new_keys_plaintext_is_shown_once_and_stored_nowhere(as_manager, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    made = as_manager("POST", "/keys", {"name": "CI"})
    assert made.status_code == 201
    plaintext = made.data["key"]
    assert keys.is_well_formed(plaintext)
    assert api_keys.find_active(plaintext).pk == made.data["id"]
    assert made.data["last_four"] == plaintext[-4:]
    assert made["Cache-Control"] == "no-store"
    rotated = as_manager("POST", f"/keys/{made.data['id']}/rotate", {})
    assert list(rotated.data) == [*SHOWN, "key"]
    for path in ("/keys", f"/keys/{made.data['id']}", f"/keys/{rotated.data['id']}", "/team"):
        shown = as_manager("GET", path).content.decode()
        assert plaintext not in shown
        assert rotated.data["key"] not in shown
    kept = everything_in_the_database() + caplog.text
    for secret in (plaintext, rotated.data["key"]):
        assert secret not in kept
        assert secret.removeprefix("sk-tg-")[:32] not in kept


def test_a_key_carries_every_rule_it_is_given(as_manager, management_key) -> None:
    expires_at = (timezone.now() + timedelta(days=1)).isoformat()
    made = as_manager("POST", "/keys", {**EVERY_RULE, "expires_at": expires_at})
    assert list(made.data) == [*SHOWN, "key"]
    assert made.data["budget_month"] == "12.000000001"
    key = ApiKey.objects.get(pk=made.data["id"])
    assert key.team == management_key.key.team
    assert key.scope == "inference"
    assert key.allowed_models == ["glm-5.2", "glm-4.7"]
    assert (key.requests_per_minute, key.tokens_per_minute) == (10, 1_000)
    assert key.budget_day_nanos == 500_000_000
    assert key.budget_month_nanos == 12_000_000_001
    assert key.budget_total_nanos == 100_000_000_000
    assert key.expires_at.isoformat() == expires_at


def test_a_key_beyond_the_teams_limit_is_refused_with_what_to_do(as_manager, alices_team) -> None:
    type(alices_team).objects.filter(pk=alices_team.pk).update(max_keys=1)
    response = as_manager("POST", "/keys", {"name": "One more"})
    assert response.status_code == 409
    assert response.json()["error"]["message"] == (
        "The team has reached its limit of valid API keys (1)."
        " Revoke one you no longer use, or ask us for a higher limit."
    )


def test_a02_a_new_key_has_the_services_prefix(as_manager) -> None:
    assert as_manager("POST", "/keys", {"name": "k"}).data["key"].startswith("sk-tg-")
    Service.objects.create(key_prefix="weatmood-")
    made = as_manager("POST", "/keys", {"name": "k"}).data
    assert made["key"].startswith("weatmood-")
    assert made["prefix"] == "weatmood-"


def test_the_maker_is_shown(alice) -> None:
    made = Caller(signed_in(alice))("POST", "/keys", {"name": "k"})
    assert made.data["created_by"] == "alice@example.com"


@pytest.mark.parametrize(
    "field",
    [
        *("id", "team", "team_id", "created_by", "created_at", "digest", "prefix", "last_four"),
        *("pepper_version", "revoked_at", "key", "object", "budget_day_nanos", "replaces", "é"),
    ],
)
def test_fields_that_are_not_the_clients_to_write_are_refused(
    as_manager, alices_key, charlies_team, field: str
) -> None:
    before = list(ApiKey.objects.values())
    for method, path in (
        ("POST", "/keys"),
        ("PATCH", f"/keys/{alices_key.key.pk}"),
        ("POST", f"/keys/{alices_key.key.pk}/rotate"),
    ):
        body = {field: charlies_team.pk}
        response = as_manager(method, path, body if "rotate" in path else {"name": "k", **body})
        assert response.status_code == 400
        assert response.data["error"]["code"] == "unknown_parameter"
        assert response.data["error"]["param"] == field
    assert list(ApiKey.objects.values()) == before


def test_a_keys_scope_is_not_changed(as_manager, alices_key) -> None:
    response = as_manager("PATCH", f"/keys/{alices_key.key.pk}", {"scope": "management"})
    assert (response.status_code, response.data["error"]["param"]) == (400, "scope")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"name": None}, "invalid_type", "name"),
        ({"name": ""}, "invalid_value", "name"),
        ({"name": True}, "invalid_type", "name"),
        ({"name": "x" * 121}, "invalid_value", "name"),
        ({"name": "a\0b"}, "invalid_value", "name"),
        ({"expires_at": "tomorrow"}, "invalid_type", "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "invalid_value", "expires_at"),
        ({"allowed_models": "glm"}, "invalid_type", "allowed_models"),
        ({"allowed_models": ["ok", 5, {}]}, "invalid_type", "allowed_models[2]"),
        ({"allowed_models": ["m"] * 201}, "invalid_value", "allowed_models"),
        ({"requests_per_minute": True}, "invalid_type", "requests_per_minute"),
        ({"requests_per_minute": 0}, "invalid_value", "requests_per_minute"),
        ({"requests_per_minute": 10**400}, "invalid_value", "requests_per_minute"),
        ({"tokens_per_minute": -1}, "invalid_value", "tokens_per_minute"),
        ({"budget_day": "-1"}, "invalid_type", "budget_day"),
        ({"budget_day": "1e999999"}, "invalid_type", "budget_day"),
        ({"budget_day": 1e300}, "invalid_type", "budget_day"),
        ({"budget_day": True}, "invalid_type", "budget_day"),
        ({"budget_day": "0.0000000001"}, "invalid_type", "budget_day"),
        ({"budget_day": "٣"}, "invalid_type", "budget_day"),
        ({"budget_total": "10000000000"}, "invalid_type", "budget_total"),
        ({"scope": "root"}, "invalid_value", "scope"),
    ],
)
def test_a_bad_value_is_refused_and_named(as_manager, change, code, param) -> None:
    response = as_manager("POST", "/keys", {"name": "k", **change})
    assert response.status_code == 400
    assert (response.data["error"]["code"], response.data["error"]["param"]) == (code, param)
    assert ApiKey.objects.count() == 1


def test_a_missing_name_is_named(as_manager) -> None:
    error = as_manager("POST", "/keys", {}).data["error"]
    assert (error["code"], error["param"]) == ("missing_required_parameter", "name")


@pytest.mark.parametrize("field", ["requests_per_minute", "tokens_per_minute"])
def test_a_team_cannot_give_itself_more_than_its_plan(as_manager, alices_key, field: str) -> None:
    most = getattr(alices_key.key.team.plan, field)
    path = f"/keys/{alices_key.key.pk}"
    assert as_manager("PATCH", path, {field: most}).status_code == 200
    refused = as_manager("PATCH", path, {field: most + 1})
    assert refused.status_code == 400
    assert str(most) in refused.data["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "missing_required_parameter"),
        ("{", 400, "invalid_json"),
        ("[]", 400, "invalid_type"),
        ("null", 400, "invalid_type"),
        ('{"name": NaN}', 400, "invalid_json"),
        ('{"name": "\\ud800"}', 400, "invalid_json"),
        (b'{"name": "\xff"}', 400, "invalid_json"),
        ("[" * 30_000, 400, "invalid_json"),
        ('{"name": "k", "requests_per_minute": ' + "9" * 5_000 + "}", 400, None),
        ('{"name": "' + "k" * 70_000 + '"}', 413, "request_too_large"),
    ],
)
def test_a_body_that_is_no_request_is_refused(as_manager, body, status, code) -> None:
    response = as_manager("POST", "/keys", body)
    assert response.status_code == status
    assert code is None or response.data["error"]["code"] == code
    assert ApiKey.objects.count() == 1


def test_a_body_of_another_type_is_refused(management_key, client) -> None:
    response = client.post(
        "/api/manage/v1/keys",
        {"name": "k"},
        headers={"Authorization": f"Bearer {management_key.plaintext}"},
    )
    assert response.status_code == 415
    assert json.loads(response.content)["error"]["code"] == "unsupported_media_type"


def test_keys_are_listed_the_newest_first_and_in_pages(as_manager, alices_team) -> None:
    made = [issue(alices_team, None, f"key {n}").key.pk for n in range(5)]
    first = as_manager("GET", "/keys?limit=2").data
    assert list(first) == ["object", "data", "has_more"]
    assert first["object"] == "list"
    assert [key["id"] for key in first["data"]] == [made[4], made[3]]
    assert first["has_more"] is True
    second = as_manager("GET", f"/keys?limit=3&after={made[3]}").data
    assert [key["id"] for key in second["data"]] == [made[2], made[1], made[0]]
    assert second["has_more"] is True
    last = as_manager("GET", f"/keys?after={made[0]}").data
    assert len(last["data"]) == 1
    assert last["has_more"] is False


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=x", "after=-1"])
def test_a_page_that_does_not_exist_is_refused(as_manager, query: str) -> None:
    response = as_manager("GET", f"/keys?{query}")
    assert response.status_code == 400
    assert response.data["error"]["param"] == query.partition("=")[0]


def test_a_list_takes_two_queries_however_long(
    as_manager, alices_team, alice, django_assert_num_queries
) -> None:
    for count in (1, 30):
        for _ in range(count):
            issue(alices_team, alice)
        with django_assert_num_queries(2):  # who asks, the keys
            as_manager("GET", "/keys?limit=100")


def test_queries_of_one_key(as_manager, alices_key, django_assert_num_queries) -> None:
    path = f"/keys/{alices_key.key.pk}"
    with django_assert_num_queries(2):  # who asks, the key
        as_manager("GET", path)
    # Who asks, the service's prefix; in a transaction the team, how many keys it has, the insert
    # and the audit log's, and which webhooks are to be told, where a savepoint may be; the key.
    with django_assert_num_queries(12):
        as_manager("POST", "/keys", {"name": "k"})


def test_a_browsers_list_takes_four_queries(alice, alices_key, django_assert_num_queries) -> None:
    caller = Caller(signed_in(alice))
    with django_assert_num_queries(4):  # session, user, memberships, keys
        caller("GET", "/keys")


def test_rules_are_changed_one_by_one(as_manager, alices_key) -> None:
    path = f"/keys/{alices_key.key.pk}"
    changed = as_manager("PATCH", path, EVERY_RULE).data
    assert (changed["name"], changed["budget_total"]) == ("CI", "100.000000000")
    changed = as_manager("PATCH", path, {"budget_total": None, "allowed_models": []}).data
    assert (changed["budget_total"], changed["allowed_models"]) == (None, [])
    assert changed["requests_per_minute"] == 10
    assert as_manager("PATCH", path, {}).data == changed


def test_a_revoked_key_stays_as_it_is(as_manager, alices_key) -> None:
    path = f"/keys/{alices_key.key.pk}"
    revoked = as_manager("DELETE", path).data
    assert revoked["revoked_at"]
    assert as_manager("DELETE", path).data == revoked
    assert as_manager("GET", path).data == revoked
    for method, suffix, body in (("PATCH", "", {"name": "x"}), ("POST", "/rotate", {})):
        response = as_manager(method, path + suffix, body)
        assert response.status_code == 409
        assert response.data["error"]["code"] == "conflict"
    assert as_manager("GET", path).data == revoked


def test_rotation_shows_the_successor_and_the_old_key_names_it(as_manager, alices_key) -> None:
    path = f"/keys/{alices_key.key.pk}"
    new = as_manager("POST", f"{path}/rotate", {"grace_seconds": 60})
    assert new.status_code == 201
    assert api_keys.find_active(new.data["key"]).pk == new.data["id"]
    old = as_manager("GET", path).data
    assert old["replaced_by"] == new.data["id"]
    assert old["expires_at"]
    again = as_manager("POST", f"{path}/rotate", {"grace_seconds": 60})
    assert (again.status_code, again.data["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize("grace", [-1, 10**9, "soon", None, True])
def test_a_grace_that_is_no_reasonable_time_is_refused(as_manager, alices_key, grace: Any) -> None:
    path = f"/keys/{alices_key.key.pk}/rotate"
    response = as_manager("POST", path, {"grace_seconds": grace})
    assert (response.status_code, response.data["error"]["param"]) == (400, "grace_seconds")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/keys"), ("DELETE", "/keys"), ("POST", "/team"), ("PUT", "/keys/1")],
)
def test_other_methods_are_refused_with_those_that_are_taken(as_manager, method, path) -> None:
    response = as_manager(method, path)
    assert response.status_code == 405
    assert "GET" in response["Allow"]
    assert response.data["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/nothing", "/keys/", "/keys/abc", "/keys/1/2", "/keys/-1"])
def test_unknown_paths_are_answered_in_the_apis_shape(as_manager, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = Caller()(method, path)
        assert response.status_code == 404
        assert response.data["error"]["code"] == "unknown_url"


def test_every_answer_has_a_request_id_of_its_own(as_manager) -> None:
    answers = [as_manager("GET", "/keys"), as_manager("POST", "/keys"), Caller()("GET", "/x")]
    ids = {answer["x-request-id"] for answer in answers}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)


@pytest.mark.parametrize("accept", ["text/html", "nonsense", "application/xml"])
def test_the_answer_is_json_whatever_is_accepted(as_manager, accept: str) -> None:
    response = as_manager("GET", "/keys?format=xml", Accept=accept)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"


def test_what_fails_on_our_side_is_a_500_that_says_nothing_of_it(as_manager, monkeypatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(api_keys, "create_key", fail)
    response = as_manager("POST", "/keys", {"name": "k"})
    assert response.status_code == 500
    assert response.data["error"]["code"] == "internal_error"
    assert "secret" not in response.content.decode()
