"""The log says who signed in, and who failed to, and nothing of what they typed."""

from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client

from accounts import teams
from accounts.models import User

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
LOGIN = "/accounts/login/"


@pytest.fixture
def dana(db: None) -> User:
    """A user with a verified address, who can sign in."""
    return teams.sign_up("dana@example.com", PASSWORD, "Dana", is_verified=True)[0]


def login(client: Client) -> None:
    client.post(LOGIN, {"login": "dana@example.com", "password": PASSWORD})


def failures(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the logged attempts at signing in that failed."""
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [each for each in events if each["event"] == "sign_in_failed"]


def test_a_failed_sign_in_is_logged_without_what_was_typed(
    dana: User, caplog: pytest.LogCaptureFixture
) -> None:
    for email in (dana.email, "my-password@example.com"):
        Client().post(LOGIN, {"login": email, "password": "wrong password"})
    known, unknown = failures(caplog)
    assert (known["user_id"], known["ip"], known["path"]) == (dana.pk, "127.0.0.1", LOGIN)
    assert unknown["user_id"] is None
    assert "my-password" not in str(unknown)
    assert "wrong password" not in str(known)


def test_a_sign_in_is_logged(dana: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    login(Client())
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    signed_in_events = [each for each in events if each["event"] == "signed_in"]
    assert [(each["user_id"], each["ip"]) for each in signed_in_events] == [(dana.pk, "127.0.0.1")]


def test_a_wrong_second_step_is_logged(dana: User, caplog: pytest.LogCaptureFixture) -> None:
    TOTP.activate(dana, generate_totp_secret())
    client = Client()
    login(client)
    client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert [(each["step"], each["user_id"]) for each in failures(caplog)] == [("totp", dana.pk)]
