"""Advance notice of a price that changes, by email and on dashboards, to those who use it."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from accounts.models import Membership, Role, Team, User
from api.catalogue.price_changes import announced_changes, change_text
from api.models import Model
from billing.models import ContractPrice, CreditAccount, PriceVersion, Product
from billing.usage.records import roll_up_recent
from portal.emails import sending, tasks
from tests.cast import IssuedKey, signed_in
from tests.config.price_pages import add_url, price_form, publish
from tests.portal.serving import customer_of, serve

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The emails about prices that go out: address, and subject and text."""
    emails: list[tuple[str, str]] = []

    def send(name: str, to: str, context: dict[str, object]) -> None:
        email = sending.write(name, to, context)
        if name == "price_change":
            emails.append((to, f"{email.subject}\n{email.body}"))

    monkeypatch.setattr("portal.emails.tasks.sending.send_later", send)
    return emails


@pytest.fixture
def change(alices_account: CreditAccount, alices_key: IssuedKey, alice: User) -> PriceVersion:
    """An announced price of a model that Alice's team used."""
    product = Product.objects.create(sku="alpha")
    Model.objects.create(name="alpha", product=product)
    now = timezone.now()
    PriceVersion.objects.create(
        product=product,
        effective_from=now - timedelta(days=9),
        input_nanos_per_million=700_000_000,
        output_nanos_per_million=2_500_000_000,
    )
    serve(customer_of(alices_account, alices_key, 10**9), model="alpha", output_nanos=5)
    roll_up_recent(2)
    return PriceVersion.objects.create(
        product=product,
        effective_from=now + timedelta(days=9),
        input_nanos_per_million=1_000_000_000,
        output_nanos_per_million=2_500_000_000,
        factor_millionths=800_000,
        announces=True,
    )


def test_who_may_pay_hears_once_what_changes_and_when(
    change: PriceVersion, alices_team: Team, sent: list[tuple[str, str]]
) -> None:
    for name, role in (("books", Role.BILLING), ("dev", Role.DEVELOPER)):
        user = User.objects.create_user(f"{name}@example.com")
        Membership.objects.create(user=user, team=alices_team, role=role)
    tasks.send_notices()
    tasks.send_notices()
    assert sorted(to for to, _ in sent) == ["alice@example.com", "books@example.com"]
    text = " ".join(sent[0][1].split())
    assert f"The price of alpha changes on {change.effective_from:%Y-%m-%d %H:%M:%S} UTC" in text
    assert "put tokens $0.70 \N{RIGHTWARDS ARROW} $0.80 per million" in text
    assert "utput tokens $2.50 \N{RIGHTWARDS ARROW} $2.00 per million" in text


def test_the_changes_are_read_in_two_queries(
    change: PriceVersion, django_assert_num_queries: Any
) -> None:
    later = change.effective_from + timedelta(days=1)
    PriceVersion.objects.create(product=change.product, effective_from=later, announces=True)
    with django_assert_num_queries(2):
        changes = announced_changes(timezone.now())
    assert [each.effective_from for each in changes] == [change.effective_from, later]
    assert changes[1].text.startswith("input tokens $0.80")


def test_it_is_told_again_only_if_the_change_itself_changes(
    change: PriceVersion, sent: list[tuple[str, str]]
) -> None:
    tasks.send_notices()
    change.source = "another list"
    change.save()
    tasks.send_notices()
    assert len(sent) == 1
    change.input_nanos_per_million = 2_000_000_000
    change.save()
    tasks.send_notices()
    assert len(sent) == 2
    assert "$1.60" in sent[1][1]


@pytest.mark.parametrize("what", ["unannounced", "begun", "unused", "disabled"])
def test_what_concerns_nobody_is_no_news(
    change: PriceVersion, alice: User, sent: list[tuple[str, str]], what: str
) -> None:
    match what:
        case "unannounced":
            change.announces = False
        case "begun":
            change.effective_from = timezone.now() - timedelta(minutes=1)
        case "unused":
            Model.objects.update(name="beta")
        case "disabled":
            Model.objects.update(is_enabled=False)
    change.save()
    tasks.send_notices()
    assert sent == []
    assert "The price of" not in signed_in(alice).get("/dashboard").content.decode()


def test_dashboards_of_teams_that_use_the_model_show_it(
    change: PriceVersion, alice: User, bob: User
) -> None:
    said = "The price of alpha changes on"
    page = signed_in(alice).get("/dashboard").content.decode()
    assert said in page
    assert "Input tokens $0.70 \N{RIGHTWARDS ARROW} $0.80 per million" in page
    assert said not in signed_in(bob).get("/dashboard").content.decode()


def test_staff_announce_a_price_as_they_publish_it(
    staff: Client, change: PriceVersion, sent: list[tuple[str, str]]
) -> None:
    change.delete()
    form = price_form(
        input_nanos_per_million="0.90", output_nanos_per_million="2.50", announces="on"
    )
    assert publish(staff, add_url(change.product), form).status_code == 302
    tasks.send_notices()
    assert len(sent) == 1


def contract(team: Team, change: PriceVersion, **fields: Any) -> ContractPrice:
    """Agree on a contract price with the team."""
    now = timezone.now()
    terms: dict[str, Any] = {"product": change.product, "effective_from": now, "reason": "Signed"}
    terms |= {"state": ContractPrice.State.APPROVED, "decided_at": now}
    return ContractPrice.objects.create(team=team, **(terms | fields))


def test_a_team_whose_contract_fixes_its_rates_hears_nothing_of_the_list_price(
    change: PriceVersion, alices_team: Team, alice: User, sent: list[tuple[str, str]]
) -> None:
    contract(alices_team, change, product=None, factor_millionths=500_000)
    fixed = contract(alices_team, change, has_own_rates=True, input_nanos_per_million=600_000_000)
    tasks.send_notices()
    assert sent == []
    assert "The price of" not in signed_in(alice).get("/dashboard").content.decode()
    # A contract that is over by then fixes nothing, and the list price it returns to is named.
    fixed.ends_at = change.effective_from
    fixed.save()
    ContractPrice.objects.filter(product=None).update(ends_at=change.effective_from)
    tasks.send_notices()
    assert "put tokens $0.60 \N{RIGHTWARDS ARROW} $0.80 per million" in " ".join(sent[0][1].split())


def test_a_team_with_a_factor_is_told_its_own_price(
    change: PriceVersion, alices_team: Team, alice: User, sent: list[tuple[str, str]]
) -> None:
    contract(alices_team, change, product=None, factor_millionths=500_000)
    tasks.send_notices()
    tasks.send_notices()
    assert len(sent) == 1
    assert "put tokens $0.35 \N{RIGHTWARDS ARROW} $0.40 per million" in " ".join(sent[0][1].split())
    page = signed_in(alice).get("/dashboard").content.decode()
    assert "Input tokens $0.35 \N{RIGHTWARDS ARROW} $0.40 per million" in page


def test_a_contract_that_waits_for_a_second_person_changes_no_notice(
    change: PriceVersion, alices_team: Team, sent: list[tuple[str, str]]
) -> None:
    waiting: dict[str, Any] = {"state": ContractPrice.State.PENDING, "decided_at": None}
    contract(alices_team, change, has_own_rates=True, **waiting)
    tasks.send_notices()
    assert "$0.70 \N{RIGHTWARDS ARROW} $0.80" in sent[0][1]


def test_each_reader_has_the_change_in_their_language(
    change: PriceVersion, alice: User, sent: list[tuple[str, str]]
) -> None:
    alice.language = "cs"
    alice.save()
    tasks.send_notices()
    before = change.product.price_versions.earliest("effective_from")
    with translation.override("cs"):
        text = change_text(before.rates, change.rates)
    assert text != change_text(before.rates, change.rates)
    # The text begins a sentence, and emails are wrapped.
    assert " ".join(text[1:].split()) in " ".join(sent[0][1].split())
