"""The format of API keys and their digests (acceptance point 2)."""

import hashlib
import hmac
import string
import zlib

import pytest
from django.core.exceptions import ImproperlyConfigured

from accounts import keys

BASE62 = set(string.digits + string.ascii_letters)


@pytest.mark.parametrize("prefix", ["sk-tg-", "weatmood-", "sk-", "sk-glm5-", "x", "A" * 20])
def test_a02_a_new_key_is_prefix_then_32_random_then_6_checksum_characters(prefix: str) -> None:
    key = keys.new_key(prefix)
    assert key.startswith(prefix)
    assert len(key) == len(prefix) + 38
    assert set(key.removeprefix(prefix)) <= BASE62
    assert keys.is_well_formed(key)


def test_the_checksum_is_crc32_in_base62_highest_digit_first() -> None:
    key = keys.new_key("sk-tg-")
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = 0
    for character in key[-6:]:
        value = value * 62 + alphabet.index(character)
    assert value == zlib.crc32(key[:-6].encode())


def test_no_two_keys_are_the_same() -> None:
    assert len({keys.new_key("sk-") for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("prefix", ["", "a_b", "ä", "a b", "A" * 21, "sk-\n"])
def test_a_prefix_that_could_not_be_read_back_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="not a key prefix"):
        keys.new_key(prefix)


def test_every_single_typo_and_swap_is_noticed() -> None:
    key = keys.new_key("sk-tg-")
    for place in range(len(key)):
        for other in "0aZ":
            if key[place] != other:
                assert not keys.is_well_formed(key[:place] + other + key[place + 1 :])
    for place in range(len(key) - 1):
        if key[place] != key[place + 1]:
            swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
            assert not keys.is_well_formed(swapped)


@pytest.mark.parametrize(
    "text",
    ["", "sk-tg-", "0" * 38, "sk-tg-" + "0" * 38, "sk-tg-" + "0" * 37, "ü" * 44, "\ud800" * 44],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    assert not keys.is_well_formed(text)


@pytest.mark.parametrize("end", ["\n", " ", "\x00", "é"])
def test_a_key_with_something_after_it_is_refused(end: str) -> None:
    assert not keys.is_well_formed(keys.new_key("sk-tg-") + end)


def test_megabytes_are_refused_by_their_length_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_KEY", None)
    assert not keys.is_well_formed("sk-" + "a" * 20_000_000)


def test_digests_are_hmac_sha256_under_each_pepper_the_newest_first(settings) -> None:
    settings.API_KEY_PEPPERS = {2: b"b" * 32, 10: b"c" * 32, 1: b"a" * 32}
    assert keys.digests("some key") == [
        hmac.new(pepper * 32, b"some key", hashlib.sha256).hexdigest()
        for pepper in (b"c", b"b", b"a")
    ]
    assert keys.newest_pepper_version() == 10


def test_without_a_pepper_nothing_is_digested(settings) -> None:
    settings.API_KEY_PEPPERS = {}
    with pytest.raises(ImproperlyConfigured, match="API_KEY_PEPPERS is empty"):
        keys.digests("some key")
    with pytest.raises(ImproperlyConfigured, match="token_hex"):
        keys.newest_pepper_version()
