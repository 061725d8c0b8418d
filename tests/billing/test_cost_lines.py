"""What upstreams charge us is kept line by line, and proved by check_ledger and the audit."""

import pytest
from django.db import connection

from api.models import RouteCost
from billing.models import UsageRecord
from billing.pricing.charge import AttemptCost, Usage, charge_of
from tests import audit
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, make_customer, settle
from tests.billing.route_costs import make_route_cost

pytestmark = pytest.mark.django_db

USED = Usage(input_tokens=150, cached_tokens=20, output_tokens=7, units={"cache_write": 5})


@pytest.fixture
def cost() -> RouteCost:
    return make_route_cost(
        input_nanos_per_million=400_000_000,
        output_nanos_per_million=2_000_000_000,
        extra_rates={"cache_write": 500_000_000},
        factor_millionths=900_000,
        context_tiers=[{"above_input_tokens": 100, "rates": {"output": 3_000_000_000}}],
        service_tiers={"priority": 2_000_000},
    )


@pytest.fixture
def record(cost: RouteCost) -> UsageRecord:
    """A request that two upstreams charge for, of which the customer pays a part."""
    customer: Customer = make_customer(10**9)
    attempts = [
        AttemptCost("maker", cost.pk, charge.total_nanos, charge.lines)
        for charge in (
            charge_of(cost.rates, Usage(input_tokens=40)),
            charge_of(cost.rates.at_service_tier("priority"), USED),
        )
    ]
    ask = customer.admitted(amount_nanos=10_000)
    settle(
        customer.end(
            ask,
            output_nanos=50,
            upstream="maker",
            upstream_cost_nanos=sum(each.amount_nanos for each in attempts),
            cost_lines=attempts,
        )
    )
    return customer.record(ask)


def found() -> tuple[set[str], set[str]]:
    """Return the invariants that check_ledger finds broken, and the audit's findings."""
    return set(broken_invariants()), {check for check, _ in audit.findings(connection)}


def test_right_lines_are_proved(record: UsageRecord) -> None:
    # 40 x 0.36; (125 + 20) x 0.72, 5 x 0.9, 7 x 5.4
    assert [cost["amount_nanos"] for cost in record.cost_lines] == [14_400, 146_700]
    assert record.upstream_cost_nanos == 161_100
    assert record.margin_nanos == 50 - 161_100
    assert found() == (set(), set())


SUMS, RATES = {"I4 cost lines"}, {"I4 cost rates"}


@pytest.mark.parametrize(
    ("change", "broken", "is_seen_by_the_audit"),
    [
        ("upstream_cost_nanos = upstream_cost_nanos + 1", SUMS, True),
        ("cost_lines = cost_lines - 0", SUMS, True),
        ("cost_lines = cost_lines #- '{0,lines,0}'", SUMS, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,amount_nanos}', '1')", SUMS, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,lines,0,4}', '1')", SUMS, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,lines,0,1}', '41')", SUMS, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,lines,0,2}', '1')", SUMS | RATES, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,lines,0,5}', '1000000')", SUMS | RATES, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,route_cost}', '0')", RATES, True),
        ("cost_lines = jsonb_set(cost_lines, '{0,lines,0,0}', '\"image\"')", RATES, False),
        ("cost_lines = jsonb_set(cost_lines, '{0,lines,0,6}', '100')", RATES, False),
        ("cost_lines = jsonb_set(cost_lines, '{1,lines,0,6}', '0')", RATES, False),
        ("cost_lines = jsonb_set(cost_lines, '{1,lines,0,7}', '\"\"')", RATES, False),
        ("created_at = created_at - interval '2 days'", RATES, True),
    ],
)
def test_a_changed_line_is_found(
    record: UsageRecord, change: str, broken: set[str], is_seen_by_the_audit: bool
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f"UPDATE billing_usagerecord SET {change} WHERE request_id = %s", [record.pk]
        )
        by_check, by_audit = found()
        cursor.execute("SET session_replication_role = origin")
    # A record of another day is also missing from its key's budget.
    assert by_check - {"I4 spent"} == broken
    assert ("cost" in by_audit) == is_seen_by_the_audit


def test_a_cost_version_with_records_keeps_its_route(cost: RouteCost, record: UsageRecord) -> None:
    with pytest.raises(Exception, match="protected foreign keys"):
        cost.route.delete()
