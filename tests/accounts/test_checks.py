"""The system checks of secrets."""

import os

import pytest

from accounts import checks
from tests.support import fresh_programs

GOOD = {1: b"p" * 32}


def ids(messages: list) -> list[str]:
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


@pytest.mark.parametrize(
    ("peppers", "expected"),
    [
        (GOOD, []),
        ({}, ["accounts.E001"]),
        ({1: b"p" * 31}, ["accounts.E002"]),
        ({0: b"p" * 32}, ["accounts.E003"]),
        ({40_000: b"p" * 32}, ["accounts.E003"]),
        ({1: b"", 2: b"p" * 32}, ["accounts.E002"]),
    ],
)
def test_peppers_are_there_long_and_numbered(settings, peppers, expected) -> None:
    settings.API_KEY_PEPPERS = peppers
    assert ids(checks.check_peppers(None)) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (GOOD, []),
        ({}, ["accounts.E005"]),
        ({1: b"p" * 31}, ["accounts.E006"]),
        ({1: b"p" * 32, 2: b"p" * 33}, ["accounts.E006"]),
    ],
)
def test_encryption_keys_are_there_and_of_aes_256(settings, keys, expected) -> None:
    settings.ENCRYPTION_KEYS = keys
    assert ids(checks.check_encryption_keys(None)) == expected


@pytest.mark.parametrize(
    ("debug", "key", "expected"),
    [
        (False, "insecure-until-SECRET_KEY-is-set", ["accounts.E004"]),
        (True, "insecure-until-SECRET_KEY-is-set", []),
        (False, "k" * 50, []),
    ],
)
def test_the_source_codes_secret_key_is_for_debug_only(settings, debug, key, expected) -> None:
    settings.DEBUG, settings.SECRET_KEY = debug, key
    assert ids(checks.check_secret_key(None)) == expected


def test_a_wildcard_host_is_warned_of(settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert ids(checks.check_allowed_hosts(None)) == ["accounts.W001"]


def manage(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run manage.py and return its exit code and its stderr."""
    command = ["manage.py", *arguments]
    code, _, complained = fresh_programs.run(command, {**os.environ, **environment})
    return code, complained


def test_production_settings_pass_the_deploy_checks() -> None:
    code, complained = manage(
        "check",
        "--deploy",
        "--fail-level=WARNING",
        HTTPS="1",
        SECRET_KEY="".join(chr(33 + i) for i in range(60)),
        ALLOWED_HOSTS="api.example.com",
        BASE_URL="https://api.example.com",
    )
    assert code == 0, complained


def test_a_command_without_a_pepper_says_what_to_set(tmp_path) -> None:
    code, complained = manage("check", API_KEY_PEPPERS="", LOCAL_DIR=str(tmp_path))
    assert code != 0
    assert "accounts.E001" in complained
    assert "API_KEY_PEPPERS='1:" in complained
