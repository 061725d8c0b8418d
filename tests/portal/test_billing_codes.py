"""Promotional codes on the billing page, and the limit of guesses."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership, Team, User
from billing.models import CreditCode
from billing.usage.balances import balance_of
from tests.cast import signed_in

pytestmark = pytest.mark.django_db

DOLLAR = 10**9


@pytest.fixture(autouse=True)
def welcome(db: None) -> CreditCode:
    """A code that is worth $5."""
    return CreditCode.objects.create(code="WELCOME", amount_nanos=5 * DOLLAR, redemptions_limit=3)


def redeem(client: Client, code: str) -> Any:
    return client.post("/billing/code", {"code": code})


def test_a_code_is_redeemed_and_said(alice: User, alices_team: Team, welcome: CreditCode) -> None:
    CreditCode.objects.update(credit_days=30)
    client = signed_in(alice)
    assert redeem(client, " wel come ")["Location"] == "/billing"
    shown = client.get("/billing").content.decode()
    assert "$5.00 were added to your balance." in shown
    assert "expires in 30 days." in shown
    assert balance_of(alices_team).available_nanos == 5 * DOLLAR


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "Enter your code."),
        ("NOTHING", "is invalid, expired or used up"),
        ("x" * 200, "at most 80 characters"),
        ("WEL\0COME", "Null characters are not allowed."),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
    ],
)
def test_what_is_not_redeemed_is_said_beside_the_field(code: str, said: str, alice: User) -> None:
    answer = redeem(signed_in(alice), code)
    assert answer.status_code == 422
    assert said in answer.content.decode()


def test_a_second_time_is_refused(alice: User, alices_team: Team) -> None:
    client = signed_in(alice)
    redeem(client, "WELCOME")
    answer = redeem(client, "WELCOME")
    assert answer.status_code == 422
    assert "Your team has already redeemed this code." in answer.content.decode()
    assert balance_of(alices_team).available_nanos == 5 * DOLLAR


def test_who_tries_too_many_is_asked_to_wait(alice: User, charlie: User, settings: Any) -> None:
    settings.CODE_RATE = "3/h"
    client = signed_in(alice)
    for _ in range(3):
        assert redeem(client, "GUESS").status_code == 422
    answer = redeem(client, "WELCOME")
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    # So is everybody at that address, and the person at every other.
    assert redeem(signed_in(charlie), "WELCOME").status_code == 429
    elsewhere = client.post("/billing/code", {"code": "WELCOME"}, REMOTE_ADDR="192.0.2.7")
    assert elsewhere.status_code == 429
    welcome = CreditCode.objects.get()
    assert welcome.redemptions == 0


def test_a_developer_may_not(bob: User, alices_team: Team) -> None:
    assert Membership.objects.get(user=bob, team=alices_team).role == "developer"
    client = signed_in(bob)
    client.post("/team/switch", {"team": alices_team.slug})
    assert redeem(client, "WELCOME").status_code == 403
    assert client.get("/billing/code").status_code == 405


# Staff


def test_staff_make_codes_in_dollars_and_customers_find_them(
    staff: Client, alice: User, alices_team: Team
) -> None:
    form = {
        "code": " summer 26 ",
        "amount_nanos": "12.50",
        "redemptions_limit": "2",
        "is_active": "on",
        "credit_days": "",
        "note": "",
        "expires_at_0": "",
        "expires_at_1": "",
        "redeemed-TOTAL_FORMS": "0",
        "redeemed-INITIAL_FORMS": "0",
    }
    empty = staff.get("/admin/billing/creditcode/add/").content.decode()
    assert 'name="amount_nanos"' in empty
    answer = staff.post("/admin/billing/creditcode/add/", form)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    code = CreditCode.objects.get(code="SUMMER26")
    assert code.amount_nanos == 12_500_000_000
    redeem(signed_in(alice), "summer26")
    assert balance_of(alices_team).available_nanos == 12_500_000_000

    shown = staff.get(f"/admin/billing/creditcode/{code.pk}/change/").content.decode()
    assert "alice@example.com" in shown
    assert 'name="amount_nanos"' not in shown
    fewer = form | {"redemptions_limit": "0"}
    answer = staff.post(f"/admin/billing/creditcode/{code.pk}/change/", fewer)
    assert answer.status_code == 200
    assert "The code has already been redeemed (1 times)." in answer.content.decode()
    assert staff.post(f"/admin/billing/creditcode/{code.pk}/delete/").status_code == 403
