"""Who the management API lets in, and what it tells those it doesn't."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import api_keys, keys
from accounts.models import ApiKey, User
from tests.api.manage.conftest import Caller
from tests.cast import issue, signed_in

pytestmark = pytest.mark.django_db


def test_a_management_key_acts_on_its_team(as_manager, alices_team) -> None:
    response = as_manager("GET", "/team")
    assert response.status_code == 200
    assert response.data["slug"] == alices_team.slug


def test_malformed_unknown_revoked_and_expired_keys_get_one_and_the_same_401(
    alices_team, alice
) -> None:
    def management_key(**rules):
        return issue(alices_team, alice, scope="management", **rules)

    revoked, expired = management_key(), management_key()
    api_keys.revoke_key(revoked.key)
    ApiKey.objects.filter(pk=expired.key.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    typo = revoked.plaintext[:-1] + ("a" if revoked.plaintext[-1] != "a" else "b")
    tokens = ["", "nonsense", "é\x7f", typo, keys.new_key("sk-tg-"), revoked.plaintext]
    tokens += [expired.plaintext, expired.plaintext + " x"]
    answers = [Caller(bearer=token)("GET", "/keys") for token in tokens]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert {answer["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    kept = [{k: v for k, v in a.headers.items() if k != "x-request-id"} for a in answers]
    assert all(headers == kept[0] for headers in kept)
    assert answers[0].data["error"] == {
        "message": answers[0].data["error"]["message"],
        "type": "invalid_request_error",
        "code": "invalid_api_key",
        "param": None,
    }
    assert answers[0].data["error"]["message"].startswith("Invalid API key provided.")


def test_a_typo_is_refused_without_a_query(management_key, django_assert_num_queries) -> None:
    typo = management_key.plaintext.swapcase()
    with django_assert_num_queries(0):
        assert Caller(bearer=typo)("GET", "/keys").status_code == 401


def test_without_credentials_the_answer_says_how_to_bring_them() -> None:
    response = Caller()("GET", "/keys")
    assert response.status_code == 401
    assert "Authorization: Bearer" in response.data["error"]["message"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Token x", "sk-tg-x"])
def test_other_schemes_are_no_credentials(header: str) -> None:
    response = Caller()("GET", "/keys", Authorization=header)
    assert response.status_code == 401


def test_the_scheme_is_read_in_any_case(management_key) -> None:
    response = Caller()("GET", "/keys", Authorization=f"bEARER {management_key.plaintext}")
    assert response.status_code == 200


def test_a_bad_key_is_refused_in_a_signed_in_browser_too(alice: User) -> None:
    assert Caller(signed_in(alice), bearer="nonsense")("GET", "/keys").status_code == 401


def test_an_inference_key_opens_nothing_here(alices_key) -> None:
    response = Caller(bearer=alices_key.plaintext)("GET", "/keys")
    assert response.status_code == 403
    assert response.data["error"]["code"] == "endpoint_not_allowed"


def test_a_suspended_teams_key_is_refused(as_manager, alices_team) -> None:
    alices_team.suspended_at = timezone.now()
    alices_team.save()
    response = as_manager("GET", "/keys")
    assert response.status_code == 403
    assert response.data["error"]["code"] == "team_suspended"


def test_a_revoked_key_is_refused_from_the_next_request_on(as_manager, management_key) -> None:
    assert as_manager("DELETE", f"/keys/{management_key.key.pk}").status_code == 200
    assert as_manager("GET", "/keys").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/keys"), ("PATCH", "/keys/{}"), ("DELETE", "/keys/{}"), ("POST", "/keys/{}/rotate")],
)
def test_a_browser_must_bring_the_csrf_token(alice, alices_key, method: str, path: str) -> None:
    browser = signed_in(alice, enforce_csrf_checks=True)
    before = list(ApiKey.objects.values())
    response = Caller(browser)(method, path.format(alices_key.key.pk), {})
    assert response.status_code == 403
    assert "CSRF" in response.data["error"]["message"]
    assert list(ApiKey.objects.values()) == before


def test_with_the_csrf_token_a_browser_may_write(alice) -> None:
    browser = signed_in(alice, enforce_csrf_checks=True)
    browser.get("/admin/login/")
    token = browser.cookies["csrftoken"].value
    response = Caller(browser)("POST", "/keys", {"name": "k"}, **{"X-CSRFToken": token})
    assert response.status_code == 201


def test_a_key_needs_no_csrf_token(management_key) -> None:
    caller = Caller(Client(enforce_csrf_checks=True), bearer=management_key.plaintext)
    assert caller("POST", "/keys", {"name": "k"}).status_code == 201


def test_a_user_who_was_switched_off_is_out_at_once(alice) -> None:
    caller = Caller(signed_in(alice))
    assert caller("GET", "/team").status_code == 200
    User.objects.update(is_active=False)
    assert caller("GET", "/team").status_code == 401
