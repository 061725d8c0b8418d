"""Banners in the shell: what stops a team, with what to do, on every page of its members."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Role, Team, User
from api.models import Model
from billing.ledger import postings
from billing.models import AutoTopUp, CreditAccount, PriceVersion, Product
from billing.payments.disputes import PAUSED_FOR_DISPUTE
from billing.usage.records import roll_up_recent
from tests.cast import IssuedKey, signed_in
from tests.portal.serving import DOLLAR, customer_of, serve

pytestmark = pytest.mark.django_db
PATHS = ("/dashboard", "/usage", "/settings/apikeys", "/settings", "/billing", "/team")


def banners(browser: Client, path: str) -> list[str]:
    """Return the banners' texts."""
    page = browser.get(path).content.decode()
    found = re.findall(r'<div class="alert banner.*?</div></div>', page, re.S)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", each)).strip() for each in found]


def test_a_team_in_order_has_no_banner(browser: Client, alices_team: Team) -> None:
    assert [banners(browser, path) for path in PATHS] == [[]] * len(PATHS)


@pytest.mark.parametrize(
    ("reason", "title"),
    [
        (PAUSED_FOR_DISPUTE, "Your API keys are paused because a payment was disputed"),
        ("Abuse", "This team is suspended."),
    ],
)
def test_rejected_keys_are_on_every_page(
    browser: Client, alices_team: Team, reason: str, title: str
) -> None:
    Team.objects.update(suspended_at=timezone.now(), suspended_reason=reason)
    for path in PATHS:
        (text,) = banners(browser, path)
        assert text.startswith(title)
        assert "Abuse" not in text


@pytest.mark.parametrize(
    ("problem", "is_on", "text"),
    [
        ("declined", True, "Auto top-up failed. Your card was declined."),
        ("declined", False, "Auto top-up was turned off."),
        ("no_card", True, "Auto top-up is paused. There is no card to charge."),
        ("authentication_required", True, "Auto top-up is paused. Your bank requires"),
    ],
)
def test_a_failed_payment_leads_to_billing(
    browser: Client, alices_team: Team, problem: str, is_on: bool, text: str
) -> None:
    an_auto_top_up(alices_team, problem=problem, is_enabled=is_on)
    (banner,) = banners(browser, "/usage")
    assert banner.startswith(text)
    assert 'href="/billing#auto-top-up"' in browser.get("/usage").content.decode()


def test_a_reached_limit_is_no_failure(browser: Client, alices_team: Team) -> None:
    an_auto_top_up(alices_team, problem="monthly_limit", is_enabled=True)
    assert banners(browser, "/usage") == []


def test_who_may_not_pay_is_told_whom_to_ask(alices_team: Team, bob: User) -> None:
    Membership.objects.filter(team=alices_team, user=bob).update(role=Role.DEVELOPER)
    an_auto_top_up(alices_team, problem="no_card", is_enabled=True)
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    (banner,) = banners(browser, "/usage")
    assert "Ask an owner or admin of the team." in banner
    assert "Go to billing" not in banner


def test_an_announced_price_is_on_every_page_of_teams_that_use_the_model(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey, charlie: User
) -> None:
    product = Product.objects.create(sku="alpha")
    Model.objects.create(name="alpha", product=product)
    now = timezone.now()
    a_price(product, now - timedelta(days=9), DOLLAR)
    serve(customer_of(alices_account, alices_key, DOLLAR), model="alpha", output_nanos=5)
    roll_up_recent(2)
    change = a_price(product, now + timedelta(days=9), 2 * DOLLAR)
    assert banners(browser, "/usage") == [], "not announced"

    PriceVersion.objects.filter(pk=change.pk).update(announces=True)
    for path in PATHS:
        (banner,) = banners(browser, path)
        assert banner.startswith(f"The price of alpha changes on {change.effective_from:%Y-%m-%d}")
        assert "$1.00" in banner
        assert "$2.00" in banner
    assert banners(signed_in(charlie), "/usage") == []


def test_the_first_page_greets_with_the_free_credit(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    postings.grant(alices_account, DOLLAR, reference="trial")
    page = browser.get("/dashboard").content.decode()
    assert "Welcome! You have $1.00 of free credit." in page
    assert "balance is low" not in page

    serve(customer_of(alices_account, alices_key, DOLLAR))
    page = browser.get("/dashboard").content.decode()
    assert "Welcome!" not in page
    assert "Your balance is low." in page


def test_bought_credits_are_not_called_free(browser: Client, alices_account: CreditAccount) -> None:
    postings.top_up(alices_account, DOLLAR, reference="pi_1")
    page = browser.get("/dashboard").content.decode()
    assert "Welcome! You have $1.00 in credits." in page


def an_auto_top_up(team: Team, **fields: Any) -> AutoTopUp:
    return AutoTopUp.objects.create(
        team=team, threshold_nanos=5 * DOLLAR, amount_cents=1000, monthly_limit_cents=5000, **fields
    )


def a_price(product: Product, at: datetime, output_nanos: int) -> PriceVersion:
    return PriceVersion.objects.create(
        product=product,
        effective_from=at,
        input_nanos_per_million=DOLLAR,
        output_nanos_per_million=output_nanos,
    )
