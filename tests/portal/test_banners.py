"""Banners in the shell: what stops a team, with what to do, on every page of its members."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Role, Team, User
from api.models import Model
from billing.ledger import postings
from billing.models import AutoTopUp, CreditAccount, PriceVersion
from billing.payments.disputes import PAUSED_FOR_DISPUTE
from tests.cast import IssuedKey, signed_in
from tests.portal.keys_pages import load_catalogue
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


def test_a_change_of_prices_is_announced_until_it_comes(
    browser: Client, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalogue(monkeypatch)
    model = Model.objects.filter(is_enabled=True).earliest("name")
    later = a_price(model, timezone.now() + timedelta(days=5))
    (banner,) = banners(browser, "/usage")
    assert banner == (
        f"Prices change on {later.effective_from.astimezone(UTC):%Y-%m-%d}."
        f" New prices apply to {model.name}. View prices"
    )
    PriceVersion.objects.filter(pk=later.pk).update(
        effective_from=timezone.now() - timedelta(seconds=1)
    )
    assert banners(browser, "/usage") == []


def test_a_first_price_and_a_far_one_are_not_announced(
    browser: Client, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalogue(monkeypatch)
    model = Model.objects.filter(is_enabled=True).earliest("name")
    a_price(model, timezone.now() + timedelta(days=60))
    assert banners(browser, "/usage") == []
    PriceVersion.objects.filter(product=model.product).delete()
    a_price(model, timezone.now() + timedelta(days=5))
    assert banners(browser, "/usage") == []


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


def a_price(model: Model, at: datetime) -> PriceVersion:
    return PriceVersion.objects.create(
        product=model.product,
        effective_from=at,
        input_nanos_per_million=DOLLAR,
        output_nanos_per_million=DOLLAR,
    )
