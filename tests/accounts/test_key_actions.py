"""What is done to keys is written down with it, or not done."""

import threading
from typing import Any

import pytest
from django.db import connection

from accounts import audit, key_actions
from accounts.access import Actor
from accounts.errors import KeyAlreadyRotatedError, KeyNotActiveError, TooManyKeysError
from accounts.models import ApiKey, AuditEntry, Plan, Role, Team, User
from tests.cast import PREFIX, IssuedKey, everything_in_the_database

pytestmark = pytest.mark.django_db

IP = "192.0.2.7"


@pytest.fixture
def actor(alices_team: Team, alice: User) -> Actor:
    return Actor(team=alices_team, user=alice, role=Role.OWNER)


def lines() -> list[tuple[str, str, dict[str, Any]]]:
    return list(AuditEntry.objects.order_by("id").values_list("action", "subject", "detail"))


def test_every_action_leaves_one_line_and_nothing_of_the_key(actor: Actor) -> None:
    key, first = key_actions.create_key(actor, "CI", prefix=PREFIX, ip_address=IP)
    name = f"CI (sk-tg-…{first[-4:]})"
    key_actions.update_key(actor, key, {"budget_day_nanos": 5, "name": "CI"}, ip_address=IP)
    new, second = key_actions.rotate_key(actor, key, 60, ip_address=IP)
    key_actions.revoke_key(actor, new, ip_address=IP)
    successor = f"CI (sk-tg-…{second[-4:]})"
    assert lines() == [
        ("key.created", name, {"scope": "inference"}),
        ("key.updated", name, {"fields": ["budget_day_nanos"]}),
        ("key.rotated", name, {"successor": successor, "grace_seconds": 60}),
        ("key.revoked", successor, {}),
    ]
    for entry in AuditEntry.objects.all():
        assert (entry.team, entry.actor, entry.ip_address) == (actor.team, actor.user, IP)
        assert entry.actor_label == "alice@example.com"
    for plaintext in (first, second):
        assert plaintext[6:-4] not in everything_in_the_database()


def test_a_change_to_what_is_so_already_leaves_no_line(actor: Actor, alices_key: IssuedKey) -> None:
    key_actions.update_key(actor, alices_key.key, {"name": "Alice's key"}, ip_address=None)
    assert lines() == []


def test_a_second_revocation_leaves_no_line(actor: Actor, alices_key: IssuedKey) -> None:
    first = key_actions.revoke_key(actor, alices_key.key, ip_address=None).revoked_at
    again = key_actions.revoke_key(actor, ApiKey.objects.get(), ip_address=None).revoked_at
    assert first == again
    assert [action for action, _, _ in lines()] == ["key.revoked"]


def test_what_is_refused_leaves_no_line(actor: Actor, alices_key: IssuedKey) -> None:
    key = alices_key.key
    key_actions.rotate_key(actor, key, 60, ip_address=None)
    with pytest.raises(KeyAlreadyRotatedError):
        key_actions.rotate_key(actor, key, 60, ip_address=None)
    key_actions.revoke_key(actor, key, ip_address=None)
    with pytest.raises(KeyNotActiveError):
        key_actions.update_key(actor, key, {"name": "back"}, ip_address=None)
    assert [action for action, _, _ in lines()] == ["key.rotated", "key.revoked"]


def test_an_action_that_cannot_be_recorded_is_not_done(
    actor: Actor, alices_key: IssuedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(ApiKey.objects.values())

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(audit, "record", fail)
    key = alices_key.key
    for action in (
        lambda: key_actions.create_key(actor, "k", prefix=PREFIX, ip_address=None),
        lambda: key_actions.update_key(actor, key, {"name": "other"}, ip_address=None),
        lambda: key_actions.rotate_key(actor, key, 60, ip_address=None),
        lambda: key_actions.revoke_key(actor, key, ip_address=None),
    ):
        with pytest.raises(RuntimeError):
            action()
    assert list(ApiKey.objects.values()) == before


@pytest.mark.django_db(transaction=True)
def test_of_revocations_at_the_same_time_one_is_written_down(
    actor: Actor, alices_key: IssuedKey
) -> None:
    start = threading.Barrier(4)

    def revoke() -> None:
        start.wait()
        key_actions.revoke_key(actor, ApiKey.objects.get(), ip_address=None)
        connection.close()

    threads = [threading.Thread(target=revoke) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [action for action, _, _ in lines()] == ["key.revoked"]


def test_a_team_has_at_most_so_many_valid_keys(actor: Actor) -> None:
    Team.objects.filter(pk=actor.team.pk).update(max_keys=2)

    def create() -> ApiKey:
        return key_actions.create_key(actor, "CI", prefix=PREFIX, ip_address=IP)[0]

    first, _ = create(), create()
    with pytest.raises(TooManyKeysError, match=r"limit of valid API keys \(2\)"):
        create()
    with pytest.raises(TooManyKeysError):
        key_actions.rotate_key(actor, first, 60, ip_address=IP)
    successor, _ = key_actions.rotate_key(actor, first, 0, ip_address=IP)
    key_actions.revoke_key(actor, successor, ip_address=IP)
    create()
    assert [line[0] for line in lines()] == [
        "key.created",
        "key.created",
        "key.rotated",
        "key.revoked",
        "key.created",
    ]


@pytest.mark.django_db(transaction=True)
def test_of_keys_made_at_the_same_time_no_more_than_the_limit_are_valid(actor: Actor) -> None:
    Plan.objects.filter(pk=actor.team.plan_id).update(max_keys=3)
    refused: list[str] = []

    def create() -> None:
        try:
            key_actions.create_key(actor, "CI", prefix=PREFIX, ip_address=IP)
        except TooManyKeysError as error:
            refused.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 7
    assert ApiKey.objects.filter(team=actor.team).count() == 3
