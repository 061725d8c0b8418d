"""What the database has of second factors: ciphertexts."""

import re

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.sessions.models import Session
from django.test import Client

from accounts import teams
from accounts.models import User
from tests.cast import everything_in_the_database
from tests.portal.test_sign_in import PASSWORD, code_of, login

pytestmark = pytest.mark.django_db

ACTIVATE = "/accounts/2fa/totp/activate/"
AUTHENTICATE = "/accounts/2fa/authenticate/"


@pytest.fixture
def dana(db: None) -> User:
    """A user with a verified address, who can sign in."""
    return teams.sign_up("dana@example.com", PASSWORD, "Dana", is_verified=True)[0]


def sessions() -> str:
    return "\n".join(str(session.get_decoded()) for session in Session.objects.all())


def test_an_app_is_set_up_and_its_seed_is_nowhere_in_the_database(dana: User) -> None:
    client = Client()
    login(client, dana.email)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = client.get(ACTIVATE)
    seed = page.context["form"].secret
    assert seed in page.content.decode(), "its owner types it where no camera is"
    assert seed not in sessions()
    assert "Incorrect code" in client.post(ACTIVATE, {"code": "1"}).content.decode()
    assert client.post(ACTIVATE, {"code": code_of(seed)}).status_code == 302
    recovery = Authenticator.objects.get(user=dana, type="recovery_codes")
    recovery_seed = get_adapter().decrypt(recovery.data["seed"])
    rows = everything_in_the_database() + sessions()
    assert seed not in rows
    assert recovery_seed not in rows
    assert rows.count("enc:1:") == 2

    browser = Client()
    assert login(browser, dana.email)["Location"] == AUTHENTICATE
    code = RecoveryCodes(recovery).get_unused_codes()[0]
    assert browser.post(AUTHENTICATE, {"code": code})["Location"] == "/dashboard"


@pytest.mark.parametrize("stored", ["plaintext", "encrypted"])
def test_seeds_from_before_are_read_as_well(dana: User, stored: str) -> None:
    seed = generate_totp_secret()
    if stored == "encrypted":
        TOTP.activate(dana, seed)
    else:
        Authenticator.objects.create(user=dana, type="totp", data={"secret": seed})
    client = Client()
    assert login(client, dana.email)["Location"] == AUTHENTICATE
    assert client.post(AUTHENTICATE, {"code": code_of(seed)})["Location"] == "/dashboard"


def test_no_page_of_the_admin_shows_them(staff: Client, dana: User) -> None:
    TOTP.activate(dana, generate_totp_secret())
    for path in ("mfa/authenticator/", "account/emailaddress/", "usersessions/usersession/"):
        assert staff.get(f"/admin/{path}").status_code == 404
    assert not re.search(
        r"/admin/(mfa|account|usersessions)/", staff.get("/admin/").content.decode()
    )
