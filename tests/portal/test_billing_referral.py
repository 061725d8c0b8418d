"""The referral link: shown to who may pay, followed by strangers, remembered until they sign up."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import Team, User
from billing.models import Referral, ReferralLink
from billing.payments import promotions
from portal.sign_in.onboarding import REFERRAL_SESSION_KEY
from tests.cast import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _ten_dollars(settings: Any) -> None:
    settings.REFERRAL_CREDIT_DOLLARS = "10"
    settings.STRIPE_SECRET_KEY = "sk_test_unused"


@pytest.fixture
def code(alices_team: Team) -> str:
    """The code of Alice's team."""
    return promotions.get_or_create_referral_link(alices_team).code


def signed_up_user(client: Client, email: str) -> User:
    answer = client.post(
        "/accounts/signup/", {"email": email, "password1": "a long and good secret"}
    )
    assert answer.status_code == 302
    return User.objects.get(email=email)


def test_the_page_shows_one_link_and_what_it_brings(
    alice: User, alices_team: Team, settings: Any
) -> None:
    settings.REFERRAL_WAIT_DAYS = 7
    shown = signed_in(alice).get("/billing").content.decode()
    link = ReferralLink.objects.get(team=alices_team)
    assert f"http://127.0.0.1:8000/r/{link.code}</code>" in shown
    assert "get $10.00 each" in shown
    assert "7 days after the payment" in shown
    signed_in(alice).get("/billing")
    assert ReferralLink.objects.count() == 1


@pytest.mark.parametrize("off", ["REFERRAL_CREDIT_DOLLARS", "STRIPE_SECRET_KEY"])
def test_where_it_is_off_nothing_is_shown(off: str, alice: User, settings: Any) -> None:
    setattr(settings, off, "0" if off.startswith("REF") else "")
    assert 'id="referral"' not in signed_in(alice).get("/billing").content.decode()


def test_who_follows_the_link_and_signs_up_is_referred(code: str, alices_team: Team) -> None:
    client = Client()
    answer = client.get(f"/r/{code}")
    assert answer["Location"] == "/accounts/signup/"
    assert "no-store" in answer["Cache-Control"]
    user = signed_up_user(client, "new@example.com")
    referral = Referral.objects.get()
    assert (referral.team, referral.referrer) == (user.teams.get(), alices_team)
    assert REFERRAL_SESSION_KEY not in client.session


@pytest.mark.parametrize("followed", ["nothing", "unknown", "../accounts"])
def test_without_a_link_that_is_known_nobody_is_referred(followed: str, code: str) -> None:
    client = Client()
    if followed != "nothing":
        client.get(f"/r/{followed}")
    signed_up_user(client, "new@example.com")
    assert not Referral.objects.exists()


@pytest.mark.parametrize("address", ["alice+second@example.com", "ALICE+1@example.com"])
def test_another_address_of_a_members_mailbox_is_not_referred(address: str, code: str) -> None:
    client = Client()
    client.get(f"/r/{code}")
    signed_up_user(client, address.lower())
    assert not Referral.objects.exists()


def test_switched_off_a_link_only_leads_to_the_sign_up(code: str, settings: Any) -> None:
    settings.REFERRAL_CREDIT_DOLLARS = "0"
    client = Client()
    assert client.get(f"/r/{code}")["Location"] == "/accounts/signup/"
    assert REFERRAL_SESSION_KEY not in client.session


def test_who_is_signed_in_is_led_home(code: str, charlie: User) -> None:
    client = signed_in(charlie)
    assert client.get(f"/r/{code}").status_code == 302
    assert REFERRAL_SESSION_KEY not in client.session
