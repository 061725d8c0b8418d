"""Making, changing, rotating and revoking keys."""

import threading
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts import api_keys, keys
from accounts.errors import AccountsError, KeyAlreadyRotatedError, KeyNotActiveError
from accounts.models import ApiKey, Team, User
from tests.cast import everything_in_the_database

pytestmark = pytest.mark.django_db

RULES = {
    "allowed_models": ["glm-5.2"],
    "requests_per_minute": 10,
    "tokens_per_minute": 1_000,
    "budget_day_nanos": 1,
    "budget_month_nanos": 2,
    "budget_total_nanos": 3,
}


@pytest.fixture
def made(alices_team: Team, alice: User) -> tuple[ApiKey, str]:
    return api_keys.create_key(alices_team, alice, "CI", prefix="sk-tg-", **RULES)


def test_a02_only_digest_prefix_and_last_four_of_a_key_are_stored(made) -> None:
    key, plaintext = made
    key.refresh_from_db()
    assert (key.prefix, key.last_four) == ("sk-tg-", plaintext[-4:])
    assert bytes(key.digest).hex() == keys.digests(plaintext)[0]
    assert key.pepper_version == 1
    assert plaintext not in everything_in_the_database()
    assert plaintext[6:-6] not in everything_in_the_database()


def test_a_key_is_found_by_its_plaintext_in_one_query(made, django_assert_num_queries) -> None:
    key, plaintext = made
    with django_assert_num_queries(1):
        found = api_keys.find_active(plaintext)
        assert found == key
        assert found.team.plan.requests_per_minute == 60


def test_a_typo_is_refused_without_a_query(made, django_assert_num_queries) -> None:
    _, plaintext = made
    with django_assert_num_queries(0):
        assert api_keys.find_active(plaintext[:-1] + ("a" if plaintext[-1] != "a" else "b")) is None


def test_keys_of_an_older_pepper_stay_good_and_new_ones_use_the_newest(settings, made) -> None:
    _, old = made
    settings.API_KEY_PEPPERS = {**settings.API_KEY_PEPPERS, 7: b"7" * 32}
    key, new = api_keys.create_key(made[0].team, None, "new", prefix="sk-tg-")
    assert key.pepper_version == 7
    assert api_keys.find_active(old) == made[0]
    assert api_keys.find_active(new) == key


def test_a_key_survives_a_change_of_prefix(alices_team: Team) -> None:
    key, plaintext = api_keys.create_key(alices_team, None, "old brand", prefix="weatmood-")
    assert api_keys.find_active(plaintext) == key


def test_a_scope_that_does_not_exist_is_refused_by_the_database(made) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        ApiKey.objects.update(scope="root")


def test_rules_can_be_changed(made) -> None:
    key = api_keys.update_key(made[0], {"name": "New name", "budget_day_nanos": None})
    assert (key.name, key.budget_day_nanos, key.budget_month_nanos) == ("New name", None, 2)


def test_a_revoked_or_expired_key_does_not_come_back_to_life(made) -> None:
    key, plaintext = made
    tomorrow = timezone.now() + timedelta(days=1)
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(KeyNotActiveError):
        api_keys.update_key(key, {"expires_at": tomorrow})
    ApiKey.objects.update(expires_at=None)
    api_keys.revoke_key(key)
    with pytest.raises(KeyNotActiveError):
        api_keys.update_key(key, {"expires_at": tomorrow})
    assert api_keys.find_active(plaintext) is None


def test_revocation_is_at_once_and_keeps_its_first_time(made) -> None:
    key, plaintext = made
    first = api_keys.revoke_key(key).revoked_at
    assert first is not None
    assert api_keys.find_active(plaintext) is None
    assert api_keys.revoke_key(ApiKey.objects.get()).revoked_at == first


def test_rotation_makes_a_key_with_the_same_rules_and_lets_the_old_one_run_out(made) -> None:
    old, old_plaintext = made
    new, plaintext = api_keys.rotate_key(old, 600)
    assert plaintext != old_plaintext
    assert new.replaces == old
    for field in ("team", "created_by", "name", "scope", "prefix", *RULES):
        assert getattr(new, field) == getattr(old, field)
    assert new.expires_at is None
    remaining = old.expires_at - timezone.now()
    assert timedelta(seconds=595) < remaining <= timedelta(seconds=600)
    assert api_keys.find_active(old_plaintext) == old
    assert api_keys.find_active(plaintext) == new


def test_rotation_without_grace_ends_the_old_key_at_once(made) -> None:
    # The database's clock stands still within this test's transaction, and the key ends on it.
    api_keys.rotate_key(made[0], 0)
    assert api_keys.find_active(made[1]) is None


def test_rotation_never_prolongs_a_key(made) -> None:
    soon = timezone.now() + timedelta(seconds=60)
    ApiKey.objects.update(expires_at=soon)
    new, _ = api_keys.rotate_key(made[0], 3_600)
    assert made[0].expires_at == soon
    assert new.expires_at == soon


def test_a_key_is_rotated_once(made) -> None:
    api_keys.rotate_key(made[0], 60)
    with pytest.raises(KeyAlreadyRotatedError, match="already rotated"):
        api_keys.rotate_key(made[0], 60)
    assert ApiKey.objects.count() == 2


def test_a_revoked_key_is_not_rotated(made) -> None:
    api_keys.revoke_key(made[0])
    with pytest.raises(KeyNotActiveError):
        api_keys.rotate_key(made[0], 60)


@pytest.mark.parametrize("grace", [-1, api_keys.LONGEST_GRACE_SECONDS + 1])
def test_a_grace_out_of_range_is_refused(made, grace: int) -> None:
    with pytest.raises(ValueError, match="grace"):
        api_keys.rotate_key(made[0], grace)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("grace", [0, 60])
def test_of_rotations_at_the_same_time_exactly_one_has_a_successor(made, grace: int) -> None:
    results: list[object] = []
    start = threading.Barrier(6)

    def rotate() -> None:
        start.wait()
        try:
            results.append(api_keys.rotate_key(ApiKey.objects.get(pk=made[0].pk), grace))
        except AccountsError as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=rotate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, tuple) for result in results) == 1, results
    assert sum(isinstance(result, KeyAlreadyRotatedError) for result in results) == 5, results
    assert ApiKey.objects.filter(replaces=made[0]).count() == 1
