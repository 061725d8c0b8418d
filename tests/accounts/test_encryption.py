"""The encryption of what the database must give back."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from accounts import encryption
from accounts.encryption import DecryptionError, decrypt, encrypt

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_secret_comes_back_for_its_purpose_alone() -> None:
    stored = encrypt("sk-secret-é", "second factor")
    assert "secret" not in stored
    assert decrypt(stored, "second factor") == "sk-secret-é"
    with pytest.raises(DecryptionError):
        decrypt(stored, "another")


def test_the_same_secret_is_stored_differently_each_time() -> None:
    assert encrypt("same", "x") != encrypt("same", "x")


@pytest.mark.parametrize("part", [0, 5, -2])
def test_a_changed_ciphertext_is_refused(part: int) -> None:
    mark, version, encoded = encrypt("secret", "x").split(":")
    changed = list(encoded)
    changed[part] = "A" if changed[part] != "A" else "B"
    with pytest.raises(DecryptionError):
        decrypt(":".join([mark, version, "".join(changed)]), "x")


@pytest.mark.parametrize("encoded", ["", "A", "!!!!", "AAAA"])
def test_a_ciphertext_that_is_none_is_refused(encoded: str) -> None:
    with pytest.raises(DecryptionError):
        decrypt(f"enc:1:{encoded}", "x")


def test_the_newest_key_encrypts_and_older_ones_still_decrypt(settings) -> None:
    settings.ENCRYPTION_KEYS = {9: OLD}
    old = encrypt("secret", "x")
    settings.ENCRYPTION_KEYS = {9: OLD, 10: NEW}
    new = encrypt("secret", "x")
    assert decrypt(old, "x") == decrypt(new, "x") == "secret"
    assert (encryption.is_current(old), encryption.is_current(new)) == (False, True)
    settings.ENCRYPTION_KEYS = {10: NEW}
    assert decrypt(new, "x") == "secret"
    with pytest.raises(DecryptionError, match="Version 9"):
        decrypt(old, "x")


@pytest.mark.parametrize("plaintext", ["JBSWY3DPEHPK3PXP", "", "enc", "enc:", "enc:x:y", "sk-1:2"])
def test_plaintext_from_before_is_returned_as_it_is(plaintext: str) -> None:
    assert decrypt(plaintext, "x") == plaintext
    assert not encryption.is_current(plaintext)


def test_nothing_is_encrypted_without_a_key(settings) -> None:
    settings.ENCRYPTION_KEYS = {}
    with pytest.raises(ImproperlyConfigured, match="ENCRYPTION_KEYS is empty"):
        encrypt("secret", "x")
