"""Who may do what with whose keys: a walk over every path by everybody."""

from typing import Any

import pytest

from accounts import access
from accounts.models import ApiKey, Membership, Role, User
from tests.api.manage.conftest import Caller
from tests.cast import issue, signed_in

pytestmark = pytest.mark.django_db

ONE_KEY = [
    ("GET", "/keys/{}", None),
    ("PATCH", "/keys/{}", {"name": "taken over"}),
    ("DELETE", "/keys/{}", None),
    ("POST", "/keys/{}/rotate", {"grace_seconds": 0}),
]
WRITES = ONE_KEY[1:]
EVERYTHING = [("GET", "/keys", None), ("POST", "/keys", {"name": "k"}), ("GET", "/team", None)]


def done(path: str) -> int:
    """Return the status of an allowed change: a rotation makes another key."""
    return 201 if path.endswith("/rotate") else 200


def rows() -> list[Any]:
    return list(ApiKey.objects.order_by("pk").values())


def as_role(team, role: str) -> Caller:
    user = User.objects.create_user(f"{role}@example.com")
    Membership.objects.create(user=user, team=team, role=role)
    return Caller(signed_in(user))


@pytest.mark.parametrize(("method", "path", "body"), ONE_KEY)
def test_an_outsider_finds_no_key_of_another_team(
    charlie, charlies_team, alices_key, management_key, method, path, body
) -> None:
    charlies_management = issue(charlies_team, charlie, scope="management")
    before = rows()
    for caller in (Caller(signed_in(charlie)), Caller(bearer=charlies_management.plaintext)):
        for key in (alices_key.key, management_key.key):
            response = caller(method, path.format(key.pk), body)
            unknown = caller(method, path.format(2**62), body)
            assert response.status_code == unknown.status_code == 404
            assert response.content == unknown.content.replace(
                str(2**62).encode(), str(key.pk).encode()
            )
    assert rows() == before


def test_an_outsiders_lists_and_new_keys_are_their_own(charlie, alices_key, charlies_key) -> None:
    caller = Caller(signed_in(charlie))
    assert [key["id"] for key in caller("GET", "/keys").data["data"]] == [charlies_key.key.pk]
    made = caller("POST", "/keys", {"name": "k"}).data
    assert ApiKey.objects.get(pk=made["id"]).team == charlies_key.key.team
    assert caller("POST", "/keys?team=alice", {"name": "k"}).status_code == 404


@pytest.mark.parametrize(("method", "path", "body"), [*ONE_KEY, *EVERYTHING])
def test_the_signed_out_get_401_everywhere(alices_key, method, path, body) -> None:
    before = rows()
    assert Caller()(method, path.format(alices_key.key.pk), body).status_code == 401
    assert rows() == before


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("role", Role.values)
def test_owners_and_admins_manage_the_teams_inference_keys_others_only_see_them(
    alices_team, alices_key, role, method, path, body
) -> None:
    caller = as_role(alices_team, role)
    seen = caller("GET", f"/keys/{alices_key.key.pk}?team=alice")
    assert seen.status_code == 200
    response = caller(method, f"{path.format(alices_key.key.pk)}?team=alice", body)
    if role in {Role.OWNER, Role.ADMIN}:
        assert response.status_code == done(path)
    else:
        assert response.status_code == 403
        assert response.data["error"]["code"] == "permission_denied"


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_developer_manages_the_keys_that_they_made(bob, bobs_key, method, path, body) -> None:
    response = Caller(signed_in(bob))(method, f"{path.format(bobs_key.key.pk)}?team=alice", body)
    assert response.status_code == done(path)


@pytest.mark.parametrize(
    ("role", "inference", "management"),
    [("owner", 201, 201), ("admin", 201, 403), ("developer", 201, 403), ("billing", 403, 403)],
)
def test_who_makes_which_keys(alices_team, role, inference, management) -> None:
    caller = as_role(alices_team, role)
    made = caller("POST", "/keys?team=alice", {"name": "k"})
    assert made.status_code == inference
    made = caller("POST", "/keys?team=alice", {"name": "k", "scope": "management"})
    assert made.status_code == management


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("role", ["admin", "developer", "billing"])
def test_only_owners_touch_management_keys(
    alices_team, management_key, role, method, path, body
) -> None:
    caller = as_role(alices_team, role)
    response = caller(method, f"{path.format(management_key.key.pk)}?team=alice", body)
    assert response.status_code == 403


def test_a_management_key_makes_and_manages_inference_keys(as_manager, alices_key) -> None:
    assert as_manager("POST", "/keys", {"name": "k"}).status_code == 201
    for method, path, body in ONE_KEY[:2] + ONE_KEY[3:]:
        response = as_manager(method, path.format(alices_key.key.pk), body)
        assert response.status_code == done(path)


def test_a_management_key_makes_no_other_and_touches_none_but_itself(
    as_manager, management_key, alices_team, alice
) -> None:
    other = issue(alices_team, alice, scope="management")
    refused = as_manager("POST", "/keys", {"name": "k", "scope": "management"})
    assert refused.status_code == 403
    for method, path, body in WRITES:
        assert as_manager(method, path.format(other.key.pk), body).status_code == 403
    assert as_manager("POST", f"/keys/{management_key.key.pk}/rotate", {}).status_code == 201


def test_a_member_who_left_is_out_at_once(bob, bobs_key) -> None:
    caller = Caller(signed_in(bob))
    Membership.objects.filter(user=bob, team=bobs_key.key.team).delete()
    assert caller("GET", f"/keys/{bobs_key.key.pk}?team=alice").status_code == 404
    assert caller("GET", f"/keys/{bobs_key.key.pk}").status_code == 404


def test_a_users_place_in_a_team_is_found(bob, charlie, alices_key):
    assert access.membership_in(charlie, alices_key.key.team) is None
    assert access.membership_in(bob, alices_key.key.team).role == Role.DEVELOPER
