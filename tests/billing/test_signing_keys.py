"""The keys that sign receipts: created once, rotated with overlap, encrypted, withdrawn."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from threading import Barrier
from typing import Any

import jwt
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts import encryption
from billing.models import SigningKey
from billing.receipts import keys
from tests.cast import everything_in_the_database

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_keys(db: None) -> None:
    """Let other tests' keys not have been."""
    SigningKey.objects.all().delete()


def kid_of(statement: str) -> str:
    return str(jwt.get_unverified_header(statement)["kid"])


def is_verified(statement: str) -> bool:
    """Verify with PyJWT against the published keys."""
    found = {each["kid"]: each for each in keys.jwks()["keys"]}
    key = found.get(kid_of(statement))
    if key is None:
        return False
    return bool(jwt.decode(statement, jwt.PyJWK(key).key, algorithms=["EdDSA"]) == {"a": "ü"})


def test_statements_verify_with_an_independent_library() -> None:
    statement = keys.sign({"a": "ü"}, "test+jwt")
    assert jwt.get_unverified_header(statement) == {
        "alg": "EdDSA",
        "kid": SigningKey.objects.get().pk,
        "typ": "test+jwt",
    }
    assert is_verified(statement)
    (published,) = keys.jwks()["keys"]
    assert set(published) == {"kty", "crv", "x", "kid", "use", "alg"}, "and no private `d`"
    with pytest.raises(jwt.InvalidSignatureError):
        is_verified(statement[:-8] + "AAAAAAAA")


def test_the_next_key_is_published_before_it_signs_and_old_ones_stay() -> None:
    first = keys.sign({"a": "ü"}, "test+jwt")
    second = keys.rotate()
    assert {each["kid"] for each in keys.jwks()["keys"]} == {kid_of(first), second.pk}
    assert keys.current_key().pk == kid_of(first), "caches of the JWKS don't have the second yet"
    assert second.signs_from > timezone.now() + timedelta(seconds=keys.JWKS_SECONDS)

    SigningKey.objects.filter(pk=second.pk).update(signs_from=timezone.now())
    later = keys.sign({"a": "ü"}, "test+jwt")
    assert kid_of(later) == second.pk
    third = keys.rotate()
    assert is_verified(first)
    assert is_verified(later)
    private = SigningKey.objects.exclude(encrypted_private_key="")
    assert {key.pk for key in private} == {second.pk, third.pk}


def test_a_withdrawn_key_is_not_published_and_not_used() -> None:
    first = keys.sign({"a": "ü"}, "test+jwt")
    printed = StringIO()
    call_command("rotate_signing_key", withdraw=kid_of(first), stdout=printed)
    assert not is_verified(first)
    second = keys.sign({"a": "ü"}, "test+jwt")
    assert is_verified(second)
    assert printed.getvalue().startswith(kid_of(second))
    assert SigningKey.objects.get(pk=kid_of(first)).encrypted_private_key == ""
    with pytest.raises(CommandError, match="No published key"):
        call_command("rotate_signing_key", withdraw=kid_of(first))


def test_private_keys_are_encrypted_and_reencrypted(settings: Any) -> None:
    statement = keys.sign({"a": "ü"}, "test+jwt")
    key = SigningKey.objects.get()
    secret = encryption.decrypt(key.encrypted_private_key, f"signing key {key.pk}")
    assert secret not in everything_in_the_database()
    assert encryption.is_encrypted(key.encrypted_private_key)

    settings.ENCRYPTION_KEYS = {**settings.ENCRYPTION_KEYS, 99: bytes(range(32))}
    assert keys.reencrypt() == 1
    assert keys.reencrypt() == 0
    assert keys.sign({"a": "ü"}, "test+jwt") == statement
    settings.ENCRYPTION_KEYS = {1: bytes(32)}
    with pytest.raises(keys.SigningUnavailableError, match="Version 99"):
        keys.sign({}, "test+jwt")


@pytest.mark.django_db(transaction=True)
def test_the_first_key_is_created_once(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier, create = Barrier(6), keys._create_first

    def create_together() -> SigningKey:
        barrier.wait(60)  # each has found no key
        return create()

    monkeypatch.setattr(keys, "_create_first", create_together)

    def sign(_: int) -> str:
        try:
            return keys.sign({"a": "ü"}, "test+jwt")
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        signed = set(threads.map(sign, range(6)))
    assert len(signed) == 1
    assert SigningKey.objects.count() == 1
