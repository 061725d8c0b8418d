"""check_ledger: each kind of corruption is found and named."""

import io
from collections.abc import Iterator

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.ledger import postings
from billing.models import PriceVersion, Product
from billing.pricing.charge import Usage, charge_of
from billing.pricing.rates import Prices, Rates
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import (
    Customer,
    admit,
    make_customer,
    new_id,
    settle,
    sweep,
    top_up,
)
from tests.billing.test_rate_tiers import tiered

pytestmark = pytest.mark.django_db


LINES = [["output", 7, 5_142_857, 1_000_000, 36], ["image", 1, 4, 1, 4]]
# 7 x 5 x 0.8 x 1.5, of a request of 101 input tokens.
LINES_OF_TIERS = [["output", 7, 5_000_000, 1_000_000, 42, 1_200_000, 100, "priority"]]


@pytest.fixture
def customer() -> Customer:
    """A customer with a request of each fate: settled, overrun, released, expired, open."""
    version = PriceVersion.objects.create(
        pk=1_000_000,  # not that of the other requests
        product=Product.objects.create(sku="tiered"),
        effective_from=timezone.now(),
        output_nanos_per_million=4_000_000,
        factor_millionths=800_000,
        context_tiers=[
            {"above_input_tokens": 100, "rates": {"output": 5_000_000}},
            {"above_input_tokens": 200, "rates": {"output": 6_000_000}},
        ],
        service_tiers={"priority": 1_500_000, "flex": 500_000},
    )
    customer = make_customer(1000)
    fates = [customer.ask() for _ in range(4)]
    admit(*fates)
    of_tiers = {"price_version_id": version.pk, "input_tokens": 101, "lines": LINES_OF_TIERS}
    settle(customer.end(fates[3], output_nanos=42, **of_tiers))
    settle(customer.end(fates[0], output_nanos=36, units_nanos=4, lines=LINES))
    settle(customer.end(fates[1], output_nanos=1000))
    settle(customer.end(fates[2]))
    refund = {"reference": new_id(), "credit": top_up(""), "is_forced": True}
    postings.refund(customer.account, 5, **refund)
    return customer


@pytest.fixture
def unguarded(customer: Customer) -> Iterator[None]:
    """Take triggers and constraints away until the test's transaction is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        for table, constraint in CONSTRAINTS:
            cursor.execute(f"ALTER TABLE billing_{table} DROP CONSTRAINT {constraint}")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = origin")


CONSTRAINTS = [
    ("creditaccount", "account_held_not_negative"),
    ("creditaccount", "account_available_not_negative"),
    ("transfer", "transfer_amount_positive"),
    ("transfer", "transfer_between_two_accounts"),
    ("usagerecord", "usage_cost_accounted_for"),
    ("usagerecord", "usage_not_negative"),
    ("keyspend", "keyspend_held_not_negative"),
]


def change(table: str, what: str, where: str) -> str:
    """Return SQL that changes rows."""
    return f"UPDATE billing_{table} SET {what} WHERE {where}"


def loss(table: str, where: str) -> str:
    """Return SQL that deletes rows."""
    return f"DELETE FROM billing_{table} WHERE {where}"


def set_line(place: str, value: str) -> str:
    """Return an assignment that changes one figure of one line, at a path such as `0,4`."""
    return f"lines = jsonb_set(lines, '{{{{{place}}}}}', '{value}')"


def last(kind: str) -> str:
    """Return a condition: the customer's last transfer of a kind."""
    return (
        "id = (SELECT max(id) FROM billing_transfer WHERE customer_id = {account}"
        f" AND kind = '{kind}')"
    )


ACCOUNT, KEY = "id = {account}", "key_id = {key}"
RECORDS = "account_id = {account}"
WITH_LINES = "account_id = {account} AND lines <> '[]'"
WITH_TIERS = "account_id = {account} AND lines->0->>7 = 'priority'"
DRAWN = "lot_id IN (SELECT transfer_id FROM billing_creditlot WHERE account_id = {account})"
OPEN = "account_id = {account} AND state = 'open'"
SETTLED = "account_id = {account} AND state = 'settled'"
WRITTEN_OFF = (
    "kind = 'write_off'"
    " AND reference IN (SELECT id::text FROM billing_reservation WHERE account_id = {account})"
)

WRONG_BALANCE = change("creditaccount", "posted_nanos = 77", ACCOUNT)

CORRUPTIONS = [
    ("I1", change("transfer", "amount_nanos = -1", last("usage"))),
    ("I1", change("transfer", "debit_account_id = credit_account_id", last("usage"))),
    ("I1", change("transfer", "credit_account_id = 0", last("usage"))),
    ("I1", change("transfer", "credit_account_id = {other}", last("usage"))),
    ("I1", change("transfer", "customer_id = {other}", last("usage"))),
    ("I1", change("transfer", "customer_id = NULL, sequence = NULL", last("usage"))),
    ("I1 shortfalls", change("transfer", "owner_id = {other}", last("usage"))),
    ("I1 shortfalls", change("transfer", "kind = 'goodwill'", WRITTEN_OFF)),
    ("I2 posted", change("creditaccount", "posted_nanos = posted_nanos + 1", ACCOUNT)),
    ("I2 posted", change("transfer", "amount_nanos = amount_nanos + 1", last("grant"))),
    ("I2 posted", loss("transfer", last("usage"))),
    ("I2 held", change("creditaccount", "held_nanos = held_nanos + 1", ACCOUNT)),
    ("I2 held", change("keyspend", "held_nanos = held_nanos + 1", KEY)),
    ("I2 held", loss("reservation", OPEN)),
    ("I2 held", change("reservation", "amount_nanos = amount_nanos + 1", OPEN)),
    ("I2 lots", loss("creditlot", RECORDS)),
    ("I2 lots", change("creditlot", "amount_nanos = amount_nanos + 1", RECORDS)),
    ("I2 lots", change("creditlot", "account_id = {other}", RECORDS)),
    ("I2 lots", change("creditlot", "remaining_nanos = 0", RECORDS)),
    ("I2 lots", loss("transfer", last("grant"))),
    ("I2 draws", change("lotmovement", "amount_nanos = -4", DRAWN)),
    ("I2 draws", change("lotmovement", "amount_nanos = 5", DRAWN)),
    ("I2 draws", change("lotmovement", "transfer_id = 0", DRAWN)),
    ("I2 draws", change("lotmovement", "lot_id = 0", DRAWN)),
    ("I2 draws", change("creditlot", "remaining_nanos = amount_nanos", RECORDS)),
    ("I3", change("creditaccount", "held_nanos = -1", ACCOUNT)),
    ("I3", change("creditaccount", "held_nanos = posted_nanos + 1", ACCOUNT)),
    ("I3", change("creditaccount", "posted_nanos = -1", ACCOUNT)),
    ("I4 charged", change("usagerecord", "charged_nanos = charged_nanos + 1", RECORDS)),
    ("I4 charged", change("usagerecord", "written_off_nanos = written_off_nanos + 1", RECORDS)),
    ("I4 charged", change("usagerecord", "cost_nanos = cost_nanos + 1", RECORDS)),
    ("I4 charged", change("usagerecord", "account_id = {other}", RECORDS)),
    ("I4 charged", loss("usagerecord", RECORDS)),
    ("I4 charged", loss("transfer", WRITTEN_OFF)),
    ("I4 lines", change("usagerecord", set_line("0,4", "35"), WITH_LINES)),
    ("I4 lines", change("usagerecord", set_line("0,1", "8"), WITH_LINES)),
    ("I4 lines", change("usagerecord", set_line("0,2", "1"), WITH_LINES)),
    ("I4 lines", change("usagerecord", set_line("0,3", "0"), WITH_LINES)),
    ("I4 lines", change("usagerecord", set_line("1,0", '"unheard_of"'), WITH_LINES)),
    ("I4 lines", change("usagerecord", set_line("1,0", '"input"'), WITH_LINES)),
    ("I4 lines", change("usagerecord", "lines = lines - 1", WITH_LINES)),
    ("I4 lines", change("usagerecord", "lines = lines || lines", WITH_LINES)),
    ("I4 lines", change("usagerecord", "input_nanos = input_nanos + 1", WITH_LINES)),
    ("I4 lines", change("usagerecord", "cost_nanos = cost_nanos + 1", WITH_LINES)),
    ("I4 lines", change("usagerecord", set_line("0,5", "1300000"), WITH_TIERS)),
    ("I4 lines", change("usagerecord", set_line("0,5", "-1200000"), WITH_TIERS)),
    ("I4 tiers", change("usagerecord", set_line("0,5", "1200001"), WITH_TIERS)),
    ("I4 tiers", change("usagerecord", set_line("0,6", "0"), WITH_TIERS)),
    ("I4 tiers", change("usagerecord", set_line("0,6", "200"), WITH_TIERS)),
    ("I4 tiers", change("usagerecord", set_line("0,7", '"flex"'), WITH_TIERS)),
    ("I4 tiers", change("usagerecord", set_line("0,7", '"unheard_of"'), WITH_TIERS)),
    ("I4 tiers", change("usagerecord", "lines = lines #- '{{0,5}}'", WITH_TIERS)),
    ("I4 tiers", change("usagerecord", "input_tokens = 100", WITH_TIERS)),
    ("I4 tiers", change("usagerecord", "input_tokens = 201", WITH_TIERS)),
    (
        "I4 tiers",
        change("priceversion", "factor_millionths = 900000", "factor_millionths = 800000"),
    ),
    ("I4 rates", change("usagerecord", set_line("0,2", "4000000"), WITH_TIERS)),
    ("I4 rates", change("usagerecord", set_line("0,2", "6000000"), WITH_TIERS)),
    ("I4 rates", change("usagerecord", set_line("0,3", "1000"), WITH_TIERS)),
    ("I4 rates", change("usagerecord", set_line("0,0", '"image"'), WITH_TIERS)),
    ("I4 rates", change("usagerecord", set_line("0,0", '"search_unit"'), WITH_TIERS)),
    (
        "I4 rates",
        change("priceversion", "context_tiers = '[]'", "factor_millionths = 800000"),
    ),
    ("I4 spent", change("keyspend", "total_nanos = total_nanos - 1", KEY)),
    ("I4 spent", change("keyspend", "month_nanos = month_nanos - 1", KEY)),
    ("I4 spent", change("keyspend", "day_nanos = day_nanos - 1", KEY)),
    ("I4 ended", loss("usagerecord", RECORDS)),
    ("I4 ended", change("reservation", "state = 'open', ended_at = NULL", SETTLED)),
    ("I5", change("reservation", "expires_at = now() - interval '1 hour'", OPEN)),
    ("I5 lots", change("creditlot", "expires_at = now() - interval '1 hour'", RECORDS)),
    ("I8", change("transfer", "sequence = sequence + 9", last("usage"))),
    ("I8", change("transfer", "balance_nanos = balance_nanos + 1", last("grant"))),
    ("I8", loss("transfer", last("grant"))),
    ("I8", change("creditaccount", "last_sequence = last_sequence + 1", ACCOUNT)),
]


def open_request(customer: Customer) -> None:
    """Admit one more request, which stays open."""
    assert admit(customer.ask(amount_nanos=50))[0].code == "admitted"


@pytest.mark.parametrize(("name", "corruption"), CORRUPTIONS)
def test_a_corruption_is_found_and_named(customer, unguarded, name, corruption):
    open_request(customer)
    names = {
        "account": customer.account.pk,
        "key": customer.key.pk,
        "other": make_customer().account.pk,
    }
    assert broken_invariants() == {}

    with connection.cursor() as cursor:
        cursor.execute(corruption.format(**names))
        assert cursor.rowcount

    broken = broken_invariants()
    assert name in broken
    assert 0 < len(broken[name]) <= 5


def test_right_books_of_every_fate_pass(customer):
    ask = customer.ask(amount_nanos=0, hold_seconds=-1)
    admit(ask)
    sweep()
    settle(customer.end(ask, output_nanos=3))
    open_request(customer)
    output = io.StringIO()

    call_command("check_ledger", stdout=output)

    lines = output.getvalue().splitlines()
    assert len(lines) == 24
    assert all(" ok: " in line for line in lines[:-1])
    assert lines[-1].startswith("Checked ")


def test_the_command_fails_and_shows_examples(customer, unguarded):
    with connection.cursor() as cursor:
        cursor.execute(WRONG_BALANCE.format(account=customer.account.pk))
    output = io.StringIO()

    with pytest.raises(CommandError, match="books are wrong") as failure:
        call_command("check_ledger", stdout=output)

    assert failure.value.returncode == 1
    assert "I2 posted    1 VIOLATIONS" in output.getvalue()
    assert f"account {customer.account.pk}: posted 77, transfers" in output.getvalue()


def test_the_command_speaks_json(customer, unguarded):
    output = io.StringIO()
    call_command("check_ledger", json=True, stdout=output)
    right = msgspec.json.decode(output.getvalue())

    with connection.cursor() as cursor:
        cursor.execute(WRONG_BALANCE.format(account=customer.account.pk))
    output = io.StringIO()
    with pytest.raises(CommandError):
        call_command("check_ledger", json=True, stdout=output)
    wrong = msgspec.json.decode(output.getvalue())

    assert (right["ok"], right["violations"]) == (True, {})
    assert right["checked"]["transfers"] >= 3
    assert not wrong["ok"]
    assert "I2 posted" in wrong["violations"]


def test_a_reservation_just_past_its_expiry_is_the_sweeps_business(customer, settings):
    """Two periods of the sweep must pass before it counts as forgotten."""
    settings.SWEEP_SECONDS = 30
    admit(customer.ask(amount_nanos=0, hold_seconds=-59))
    assert broken_invariants() == {}
    admit(customer.ask(amount_nanos=0, hold_seconds=-61))
    assert list(broken_invariants()) == ["I5"]


@settings(
    max_examples=max(25, settings.default.max_examples // 4),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tiered(), st.integers(0, 300), st.integers(0, 300), st.data())
def test_what_is_charged_at_any_prices_passes(
    figures: Prices, input_tokens: int, output_tokens: int, data: st.DataObject
) -> None:
    columns = {name: getattr(figures, name) for name in Rates.__struct_fields__ if "nanos" in name}
    version = PriceVersion.objects.create(
        product=Product.objects.create(sku=new_id()),
        effective_from=timezone.now(),
        **columns,
        factor_millionths=figures.factor_millionths,
        context_tiers=[msgspec.structs.asdict(tier) for tier in figures.context_tiers],
    )
    used = Usage(
        input_tokens=input_tokens,
        cached_tokens=data.draw(st.integers(0, input_tokens)),
        output_tokens=output_tokens,
        reasoning_tokens=data.draw(st.integers(0, output_tokens)),
        images=1,
    )
    charge = msgspec.structs.asdict(charge_of(version.rates, used))
    del charge["total_nanos"]
    customer = make_customer(100)
    end = {"price_version_id": version.pk, "input_tokens": input_tokens, "source": "upstream"}
    settle(customer.end(customer.admitted(), **end, **charge))
    assert broken_invariants() == {}
