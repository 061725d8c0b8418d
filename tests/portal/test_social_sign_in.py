"""Signing in through another service, where the operator lets people."""

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers import registry
from django.test import Client

from accounts import teams
from accounts.models import Membership, Role, User
from billing.models import CreditAccount
from tests.cast import signed_in
from tests.portal.sent_emails import code_to

pytestmark = pytest.mark.django_db

BUTTON = "Continue with Dummy"
EMAIL = "dana@example.com"


@pytest.fixture
def _provider(settings: Any) -> Iterator[None]:
    """Configure django-allauth's dummy provider, which believes what its form says."""
    settings.SOCIAL_PROVIDERS = ["dummy"]
    settings.INSTALLED_APPS = [
        *settings.INSTALLED_APPS,
        "allauth.socialaccount.providers.dummy",
    ]
    settings.ROOT_URLCONF = "tests.portal.social_urls"
    settings.TRIAL_CREDIT_DOLLARS = "1"
    known = dict(registry.provider_map)
    registry.loaded = False
    registry.load()
    yield
    registry.provider_map = known


def come_back(client: Client, email: str, *, is_verified: bool, process: str = "login") -> Any:
    """Press the button, and return from the provider as somebody with an address there."""
    leave = client.post(f"/accounts/dummy/login/?process={process}")
    fields = {"id": "4711", "email": email} | ({"email_verified": "on"} if is_verified else {})
    return client.post(leave["Location"], fields)


def test_without_providers_there_is_no_button(client: Client, alice: User) -> None:
    for path in ("/accounts/login/", "/accounts/signup/"):
        assert "Continue with" not in client.get(path).content.decode()
    assert "Connected accounts" not in signed_in(alice).get("/settings").content.decode()


@pytest.mark.usefixtures("_provider")
def test_a_provider_has_its_button_where_one_signs_in_and_up(client: Client, alice: User) -> None:
    for path in ("/accounts/login/", "/accounts/signup/"):
        assert BUTTON in client.get(path).content.decode()
    member = signed_in(alice)
    assert "Connected accounts" in member.get("/settings").content.decode()
    assert BUTTON in member.get("/accounts/3rdparty/").content.decode()


@pytest.mark.usefixtures("_provider")
def test_a_stranger_becomes_the_owner_of_a_team_with_trial_credit(client: Client) -> None:
    assert come_back(client, EMAIL, is_verified=True)["Location"] == "/dashboard"
    assert client.get("/dashboard").status_code == 200
    membership = Membership.objects.get(user__email=EMAIL)
    assert (membership.role, membership.team.is_personal) == (Role.OWNER, True)
    assert CreditAccount.objects.get(team=membership.team).posted_nanos == 10**9
    again = Client()
    come_back(again, EMAIL, is_verified=True)
    assert again.get("/dashboard").status_code == 200
    assert User.objects.count() == 1


@pytest.mark.usefixtures("_provider")
def test_an_address_that_the_provider_has_not_verified_is_verified_here(client: Client) -> None:
    assert come_back(client, EMAIL, is_verified=False)["Location"] == "/accounts/confirm-email/"
    assert client.get("/dashboard").status_code == 302
    assert CreditAccount.objects.get(team__is_personal=True).posted_nanos == 0
    answer = client.post("/accounts/confirm-email/", {"code": code_to(EMAIL)})
    assert answer["Location"] == "/dashboard"
    assert CreditAccount.objects.get(team__is_personal=True).posted_nanos == 10**9


@pytest.mark.usefixtures("_provider")
@pytest.mark.parametrize("is_verified", [False, True])
def test_anothers_address_takes_over_no_account(client: Client, is_verified: bool) -> None:
    owner, _ = teams.sign_up(EMAIL, "correct horse battery", "Dana", is_verified=True)
    come_back(client, EMAIL, is_verified=is_verified)
    assert client.get("/dashboard").status_code == 302
    assert not SocialAccount.objects.filter(user=owner).exists()
    assert EmailAddress.objects.filter(email=EMAIL, verified=True).get().user == owner
    assert User.objects.filter(email=EMAIL).count() == 1


@pytest.mark.usefixtures("_provider")
def test_a_member_connects_an_account_and_signs_in_with_it(client: Client, alice: User) -> None:
    alice.emailaddress_set.update(verified=True)
    client.post("/accounts/login/", {"login": alice.email, "password": "alices secret"})
    come_back(client, "other@example.com", is_verified=True, process="connect")
    assert not SocialAccount.objects.exists(), "the password is asked for first"
    client.post("/accounts/reauthenticate/", {"password": "alices secret"})
    come_back(client, "other@example.com", is_verified=True, process="connect")
    assert SocialAccount.objects.get().user == alice
    later = Client()
    come_back(later, "other@example.com", is_verified=True)
    assert later.get("/dashboard").context["user"] == alice
