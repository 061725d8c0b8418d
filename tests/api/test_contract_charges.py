"""Requests at contract prices: charged at the admission's, and proved by check_ledger."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.audit import Staff
from accounts.models import Team, User
from api.catalogue import contracts
from api.catalogue.snapshot import load_snapshot
from billing.models import ContractPrice, CreditAccount, Product, UsageRecord
from billing.pricing.charge import Usage, charge_of, quote
from billing.pricing.rates import Prices
from tests.api.contract_terms import make_model, prices_of, terms
from tests.billing.conftest import broken_invariants
from tests.billing.gates import open_gate
from tests.billing.ledger_calls import Customer, make_customer
from tests.portal.serving import DOLLAR, customer_of, serve

pytestmark = pytest.mark.django_db

USED = Usage(input_tokens=1_000, cached_tokens=100, output_tokens=500)


@pytest.fixture
def product() -> Product:
    """A model at $1 and $4 per million tokens, whose upstream charges half."""
    return make_model("alpha")


@pytest.fixture
def clerk() -> User:
    return User.objects.create_superuser("clerk@example.com", "clerks secret")


@pytest.fixture
def staff(alices_team: Team, alices_account: CreditAccount, clerk: User) -> Staff:
    """The clerk, who acts on Alice's team."""
    return Staff(alices_team, clerk)


def settled_at(prices: Prices) -> dict[str, Any]:
    """Return the end of a request at the prices."""
    charge = charge_of(prices, USED)
    return {
        "model": "alpha",
        "price_version_id": prices.version_id,
        "input_tokens": USED.input_tokens,
        "cached_tokens": USED.cached_tokens,
        "output_tokens": USED.output_tokens,
        "source": "upstream",
        "lines": charge.lines,
        "input_nanos": charge.input_nanos,
        "cached_nanos": charge.cached_nanos,
        "output_nanos": charge.output_nanos,
    }


def charged(customer: Customer, prices: Prices) -> UsageRecord:
    """Serve a request at the prices and return its record."""
    hold = quote(prices, input_tokens_max=1_000, output_tokens_max=500)
    return serve(customer, hold_nanos=hold, **settled_at(prices))


@pytest.fixture
def customer(staff: Staff, product: Product, alices_key: Any) -> Customer:
    account = CreditAccount.objects.get(team=staff.team)
    return customer_of(account, alices_key, 10 * DOLLAR)


def test_charges_at_contract_prices_are_proved(
    staff: Staff, product: Product, customer: Customer
) -> None:
    by_factor = contracts.request(staff, terms(factor_millionths=770_001))
    assert charged(customer, prices_of(staff.team)).contract_id == by_factor.pk
    own = contracts.request(staff, terms(product, rates={"output": 3 * DOLLAR}))
    record = charged(customer, prices_of(staff.team))
    assert (record.contract_id, record.output_nanos) == (own.pk, 500 * 3_000)
    contracts.end(staff, own, "Over")
    contracts.end(staff, by_factor, "Over")
    assert charged(customer, prices_of(staff.team)).contract_id is None
    assert broken_invariants() == {}


_LINE = "lines = jsonb_set(lines, '{0,%s}', '%s')"


@pytest.mark.parametrize(
    ("corruption", "invariant"),
    [
        ("billing_usagerecord SET " + _LINE % (5, "770002"), "I4 tiers"),
        ("billing_usagerecord SET " + _LINE % (5, "1000000"), "I4 tiers"),
        ("billing_usagerecord SET " + _LINE % (2, "999999999"), "I4 rates"),
        ("billing_usagerecord SET " + _LINE % (8, "0"), "I4 contracts"),
        ("billing_usagerecord SET lines = lines #- '{1,8}'", "I4 contracts"),
        ("billing_contractprice SET state = 'rejected'", "I4 contracts"),
        ("billing_contractprice SET effective_from = now() + interval '1 day'", "I4 contracts"),
        (
            (
                "billing_contractprice SET effective_from = now() - interval '9 days',"
                " ends_at = now() - interval '1 day'"
            ),
            "I4 contracts",
        ),
        ("billing_contractprice SET team_id = (SELECT max(id) FROM accounts_team)", "I4 contracts"),
        ("billing_contractprice SET product_id = %(other)s", "I4 contracts"),
    ],
)
def test_a_charge_that_is_not_its_contracts_is_found(
    staff: Staff, product: Product, customer: Customer, corruption: str, invariant: str
) -> None:
    contracts.request(staff, terms(factor_millionths=770_001))
    charged(customer, prices_of(staff.team))
    make_customer(0)  # whose team is the newest
    other = Product.objects.create(sku="other").pk
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE " + corruption.replace("%(other)s", str(other)))
        cursor.execute("SET session_replication_role = origin")
    assert invariant in broken_invariants()


def test_own_rates_that_were_not_charged_are_found(
    staff: Staff, product: Product, customer: Customer
) -> None:
    contract = contracts.request(staff, terms(product, rates={"output": 3 * DOLLAR}))
    charged(customer, prices_of(staff.team))
    ContractPrice.objects.filter(pk=contract.pk).update(output_nanos_per_million=DOLLAR)
    assert "I4 rates" in broken_invariants()


def test_a_list_price_charged_in_spite_of_a_contract_is_found(
    staff: Staff, product: Product, customer: Customer
) -> None:
    listed = prices_of(staff.team)
    contract = contracts.request(staff, terms())
    record = charged(customer, listed)
    assert broken_invariants() == {}  # clocks may differ by as much
    long_ago = timezone.now() - timedelta(hours=2)
    rows = ContractPrice.objects.filter(pk=contract.pk)
    rows.update(effective_from=long_ago, decided_at=long_ago)
    assert str(record.pk) in broken_invariants()["I4 contracts"][0]


class Buyer:
    """Clients of one team that pay without a pause, each through its own gate."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.is_over = False

    async def pay(self) -> list[int]:
        """Return the contract that each request was at, 0 for the list price."""
        paid = []
        async with open_gate() as gate:
            while not (self.is_over and paid):
                version, prices = await asyncio.to_thread(self._quoted)
                ask = self.customer.ask(
                    amount_nanos=quote(prices, input_tokens_max=1_000, output_tokens_max=500),
                    price_version_id=prices.version_id,
                    catalogue_version=version,
                    model="alpha",
                    tokens=0,
                )
                if (await gate.admit(ask)).code != "admitted":
                    continue  # most often because the catalogue has changed meanwhile
                await gate.settle(self.customer.end(ask, **settled_at(prices)))
                paid.append(prices.contract)
        return paid

    def _quoted(self) -> tuple[int, Prices]:
        try:
            return load_snapshot().version, prices_of(self.customer.team)
        finally:
            connection.close()


@pytest.mark.django_db(transaction=True)
def test_requests_while_contracts_begin_and_end_are_at_the_price_they_were_admitted_at(
    staff: Staff, product: Product, customer: Customer
) -> None:
    buyer = Buyer(customer)

    def change() -> None:
        try:
            for factor in (700_000, 800_000, 900_000):
                made = contracts.request(staff, terms(factor_millionths=factor))
                contracts.end(staff, made, "Over")
        finally:
            buyer.is_over = True
            connection.close()

    async def all_at_once() -> list[list[int]]:
        *paid, _ = await asyncio.gather(buyer.pay(), buyer.pay(), asyncio.to_thread(change))
        return paid

    assert all(asyncio.run(all_at_once()))
    assert broken_invariants() == {}
