"""Prices beside costs, and the margins of what was used."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from billing.pricing.charge import AttemptCost
from billing.pricing.margins import is_below_cost, rate_pairs, rate_text
from billing.pricing.rates import ContextTier, Rates
from billing.usage.margins import Margin, margins
from billing.usage.records import roll_up_recent
from tests.billing.ledger_calls import make_customer, settle
from tests.billing.test_pricing import prices

SOLD = prices(input_nanos_per_million=1_000, output_nanos_per_million=2_000)


@pytest.mark.parametrize(
    ("sold", "bought", "is_loss"),
    [
        (SOLD, Rates(input_nanos_per_million=1_000, output_nanos_per_million=2_000), False),
        (SOLD, Rates(input_nanos_per_million=1_001), True),
        (SOLD, Rates(output_nanos_per_million=2_001), True),
        (SOLD, Rates(request_nanos=1), True),
        (SOLD, Rates(extra={"cache_write": 1_000}), False),  # sold as input
        (SOLD, Rates(extra={"cache_write": 1_001}), True),
        (SOLD, Rates(input_nanos_per_million=1_000, factor_millionths=1_000_001), True),
        (
            SOLD,
            Rates(
                input_nanos_per_million=1_000, context_tiers=(ContextTier(200, {"input": 1_001}),)
            ),
            True,
        ),
        (
            prices(
                input_nanos_per_million=1_000,
                context_tiers=(ContextTier(100, {"input": 2_000}),),
            ),
            Rates(input_nanos_per_million=900, context_tiers=(ContextTier(200, {"input": 1_900}),)),
            False,
        ),
        (
            prices(input_nanos_per_million=1_000, service_tiers={"flex": 500_000}),
            Rates(input_nanos_per_million=600),
            True,
        ),
        (
            prices(input_nanos_per_million=1_000, service_tiers={"flex": 500_000}),
            Rates(input_nanos_per_million=600, service_tiers={"flex": 500_000}),
            False,
        ),
    ],
)
def test_any_component_at_any_tier_may_be_sold_at_a_loss(
    sold: Rates, bought: Rates, is_loss: bool
) -> None:
    assert is_below_cost(sold, bought) == is_loss


def test_a_margin_is_a_part_of_the_price() -> None:
    bought = Rates(input_nanos_per_million=250, output_nanos_per_million=2_500)
    found = {pair.component.name: pair.margin_percent for pair in rate_pairs(SOLD, bought)}
    assert (found["input"], found["output"]) == (75, -25)
    assert next(rate_pairs(Rates(), bought)).margin_percent is None
    assert rate_text(next(rate_pairs(SOLD, bought)).cost) == "0.00000025"


@pytest.mark.django_db
def test_margins_by_day_model_team_upstream_and_request() -> None:
    customer = make_customer(10_000)
    lost = AttemptCost("dear", 1, 30, [])
    won = AttemptCost("cheap", 2, 50, [])
    first = customer.admitted(model="alpha")
    second = customer.admitted(model="beta")
    settle(
        customer.end(
            first,
            model="alpha",
            output_nanos=100,
            upstream="cheap",
            upstream_cost_nanos=80,
            cost_lines=[lost, won],
        )
    )
    # Of an earlier release: without lines.
    settle(
        customer.end(second, model="beta", output_nanos=10, upstream="old", upstream_cost_nanos=40)
    )
    now = timezone.now()
    since, until = now - timedelta(days=1), now + timedelta(hours=1)
    roll_up_recent(2)

    assert margins("model", since, until) == [
        Margin("beta", 1, 10, 40),
        Margin("alpha", 1, 100, 80),
    ]
    team = Margin(customer.team.slug, 2, 110, 120)
    assert margins("team", since, until) == [team]
    assert margins("day", since, until) == [team._replace(name=f"{now:%Y-%m-%d}")]
    assert margins("upstream", since, until) == [
        Margin("dear", 0, 0, 30),
        Margin("old", 1, 10, 40),
        Margin("cheap", 1, 100, 50),
    ]
    worst, best = margins("request", since, until)
    assert (worst.margin_nanos, worst.percent) == (-30, -300)
    assert (best.margin_nanos, best.percent) == (20, 20)
    assert margins("request", until, until) == []


@pytest.mark.django_db
def test_the_command_prints_margins_in_dollars() -> None:
    customer = make_customer(10**9)
    settle(
        customer.end(
            customer.admitted(model="alpha", amount_nanos=10**6),
            model="alpha",
            output_nanos=10**6,
            upstream_cost_nanos=750_000,
        )
    )
    roll_up_recent(2)
    out = StringIO()
    call_command("margins", "--by", "model", "--csv", stdout=out)
    heading, row = out.getvalue().split()[:3], out.getvalue().splitlines()[1]
    assert heading[0].startswith("model,requests,revenue")
    assert row == "alpha,1,0.001000000,0.000750000,0.000250000,25.0"
    plain = StringIO()
    call_command("margins", "--by", "team", stdout=plain)
    assert "0.000250000" in plain.getvalue()
