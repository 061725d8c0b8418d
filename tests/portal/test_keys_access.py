"""Who may see and do what on the keys' pages."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, AuditEntry, Membership, Role, Team, User
from tests.cast import IssuedKey, issue, signed_in
from tests.portal.keys_pages import URL, load_catalogue

pytestmark = pytest.mark.django_db

PAGES = ["", "/edit", "/rotate", "/revoke"]
SENT = {
    "/edit": {"name": "Taken over", "expiry": "never"},
    "/rotate": {"grace_seconds": "3600"},
    "/revoke": {},
}


@pytest.fixture
def member(
    alices_team: Team, bob: User, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Client:
    """Bob, in Alice's team with the role that the test is parametrized with."""
    load_catalogue(monkeypatch)
    Membership.objects.filter(user=bob, team=alices_team).update(role=request.param)
    client = signed_in(bob)
    client.post("/team/switch", {"team": alices_team.slug})
    return client


def statuses(client: Client, key: ApiKey) -> list[int]:
    """Return what the key's pages answer when read, then when sent to; the last one revokes."""
    url = f"{URL}/{key.pk}"
    read = [client.get(f"{url}{page}").status_code for page in PAGES]
    sent = [client.post(f"{url}{page}", fields).status_code for page, fields in SENT.items()]
    return [*read, *sent]


MAY = [200, 200, 200, 200, 302, 200, 302]
MAY_NOT = [200, 403, 403, 403, 403, 403, 403]


@pytest.mark.parametrize(
    ("member", "own", "others", "management"),
    [
        (Role.OWNER, MAY, MAY, MAY),
        (Role.ADMIN, MAY, MAY, MAY_NOT),
        (Role.DEVELOPER, MAY, MAY_NOT, MAY_NOT),
        (Role.BILLING, MAY_NOT, MAY_NOT, MAY_NOT),
    ],
    indirect=["member"],
)
def test_a_role_manages_what_access_says(
    member: Client,
    own: list[int],
    others: list[int],
    management: list[int],
    alices_key: IssuedKey,
    bobs_key: IssuedKey,
    management_key: IssuedKey,
) -> None:
    assert statuses(member, bobs_key.key) == own
    assert statuses(member, alices_key.key) == others
    assert statuses(member, management_key.key) == management


@pytest.mark.parametrize(
    ("member", "may"),
    [(Role.OWNER, True), (Role.ADMIN, True), (Role.DEVELOPER, True), (Role.BILLING, False)],
    indirect=["member"],
)
def test_a_role_makes_keys_or_not(member: Client, may: bool, alices_key: IssuedKey) -> None:
    fields = {"name": "CI", "expiry": "never", "scope": "inference"}
    assert member.get(f"{URL}/new").status_code == (200 if may else 403)
    assert member.post(f"{URL}/new", fields).status_code == (200 if may else 403)
    assert ApiKey.objects.count() == (2 if may else 1)
    assert (f"{URL}/new" in member.get(URL).content.decode()) is may


@pytest.mark.parametrize("member", [Role.DEVELOPER, Role.BILLING], indirect=True)
def test_what_is_not_allowed_is_not_offered(member: Client, alices_key: IssuedKey) -> None:
    url = f"{URL}/{alices_key.key.pk}"
    page = member.get(url).content.decode()
    for action in ("edit", "rotate", "revoke"):
        assert f"{url}/{action}" not in page


def test_another_teams_key_is_not_found(
    charlie: User, charlies_account: Any, alices_key: IssuedKey
) -> None:
    before = list(ApiKey.objects.values())
    assert statuses(signed_in(charlie), alices_key.key) == [404] * 7
    assert list(ApiKey.objects.values()) == before
    assert not AuditEntry.objects.exists()


def test_a_key_of_the_members_other_team_is_not_found_in_this_one(
    bob: User, bobs_key: IssuedKey, alices_team: Team
) -> None:
    client = signed_in(bob)  # acting for his personal team
    assert client.get(f"{URL}/{bobs_key.key.pk}").status_code == 404
    client.post("/team/switch", {"team": alices_team.slug})
    assert client.get(f"{URL}/{bobs_key.key.pk}").status_code == 200


@pytest.mark.parametrize("key_id", [0, 999_999, 10**30])
def test_a_key_that_does_not_exist_is_not_found(
    alice: User, alices_account: Any, key_id: int
) -> None:
    client = signed_in(alice)
    for page in PAGES:
        assert client.get(f"{URL}/{key_id}{page}").status_code == 404


def test_who_is_signed_out_is_asked_to_sign_in(alices_key: IssuedKey) -> None:
    client = Client()
    key = f"{URL}/{alices_key.key.pk}"
    for url in (URL, f"{URL}/new", *(f"{key}{page}" for page in PAGES)):
        answer = client.get(url)
        assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={url}")
    for page, fields in SENT.items():
        assert client.post(f"{key}{page}", fields).status_code == 302
    assert ApiKey.objects.values("name", "revoked_at").get() == {
        "name": "Alice's key",
        "revoked_at": None,
    }


def test_no_form_is_taken_without_its_csrf_token(alice: User, alices_key: IssuedKey) -> None:
    client = signed_in(alice, enforce_csrf_checks=True)
    key = f"{URL}/{alices_key.key.pk}"
    assert client.post(f"{URL}/new", {"name": "CI", "expiry": "never"}).status_code == 403
    for page, fields in SENT.items():
        assert client.post(f"{key}{page}", fields).status_code == 403
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("page", PAGES[1:])
def test_only_reading_and_sending_are_answered(
    alice: User, alices_key: IssuedKey, page: str
) -> None:
    answer = signed_in(alice).delete(f"{URL}/{alices_key.key.pk}{page}")
    assert answer.status_code == 405


def test_a_key_is_not_changed_by_reading(alice: User, alices_team: Team) -> None:
    key = issue(alices_team, alice).key
    before = ApiKey.objects.values().get()
    client = signed_in(alice)
    for page in PAGES:
        client.get(f"{URL}/{key.pk}{page}")
    assert ApiKey.objects.values().get() == before
