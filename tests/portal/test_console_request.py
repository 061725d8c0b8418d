"""Why was this charged: the customer's own page of a request, and beside it what staff may see."""

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from billing.models import UsageRecord
from billing.pricing.charge import Usage, charge_of
from tests.billing.ledger_calls import Customer
from tests.billing.route_costs import make_route_cost
from tests.cast import signed_in
from tests.portal.serving import price_version, request_page, serve

pytestmark = pytest.mark.django_db

WORDS = "our account at maker is overdue"


def _cost(upstream: str, version: int, *lines: list[Any]) -> dict[str, Any]:
    """Return what an upstream charges us for an attempt."""
    amount_nanos = sum(line[-1] for line in lines)
    return {
        "upstream": upstream,
        "route_cost": version,
        "amount_nanos": amount_nanos,
        "lines": lines,
    }


@pytest.fixture
def record(customer: Customer) -> UsageRecord:
    """A request of Alice's at twice what it costs us, on the second attempt."""
    price = price_version(
        input_nanos_per_million=2_000_000_000,
        output_nanos_per_million=10_000_000_000,
    )
    cost = make_route_cost(
        input_nanos_per_million=1_000_000_000, output_nanos_per_million=5_000_000_000
    )
    charge = charge_of(price.rates, Usage(input_tokens=1000, output_tokens=500))
    return serve(
        customer,
        hold_nanos=20_000_000,
        price_version_id=price.pk,
        input_tokens=1000,
        output_tokens=500,
        input_nanos=charge.input_nanos,
        output_nanos=charge.output_nanos,
        lines=tuple(charge.lines),
        upstream="standby",
        upstream_request_id="req_abc",
        upstream_cost_nanos=3_500_000 + 1_000,
        cost_lines=[
            _cost("maker", cost.pk, ["input", 1, 1_000_000_000, 1_000_000, 1_000]),
            _cost(
                "standby",
                cost.pk,
                ["input", 1000, 1_000_000_000, 1_000_000, 1_000_000],
                ["output", 500, 5_000_000_000, 1_000_000, 2_500_000],
            ),
        ],
        attempts=[
            {"upstream": "maker", "upstream_model": "big", "status": 402, "ms": 9, "error": WORDS},
            {"upstream": "standby", "upstream_model": "big", "status": 200, "ms": 90, "error": ""},
        ],
    )


def url_of(record_id: object) -> str:
    return f"/admin/billing/usagerecord/{record_id}/change/"


def test_staff_see_the_customers_page_and_what_the_customer_does_not(
    staff: Client, record: UsageRecord, alice: User
) -> None:
    page = re.sub(r"\s+", " ", staff.get(url_of(record.pk)).content.decode())
    theirs = request_page(signed_in(alice), record.pk)
    customers, _, staffs = page.partition("</template>")
    for words in ("How the charge was calculated", "Verified:", "$0.007000000", "(402)"):
        assert words in theirs, words
        assert words in customers, words
    for words in (
        WORDS,
        "req_abc",
        "standby",
        "$0.001000000",
        "$0.002500000",
        "$0.000001000",
        "$0.003501000",
    ):
        assert words in staffs, words
        assert words not in theirs, words
    assert "50.0% of the charge" in page
    assert "$0.003499" in page  # the margin
    assert f"/admin/customers/{record.account.team_id}" in staffs


def test_links_in_the_customers_part_lead_nowhere_of_the_customers(
    staff: Client, record: UsageRecord
) -> None:
    page = staff.get(url_of(record.pk)).content.decode()
    customers = page.partition("<template")[2].partition("</template>")[0]
    assert not re.search(r'<a [^>]*href="/(usage|statement)', customers)


def test_a_loss_is_shown_as_one(staff: Client, record: UsageRecord) -> None:
    UsageRecord.objects.filter(pk=record.pk).update(upstream_cost_nanos=9_000_000)
    page = staff.get(url_of(record.pk)).content.decode()
    assert "-$0.002" in page
    assert "-28.6% of the charge" in page


def test_a_record_without_lines_price_or_attempts_has_a_page(
    staff: Client, record: UsageRecord
) -> None:
    UsageRecord.objects.filter(pk=record.pk).update(
        lines=[],
        cost_lines=[],
        attempts=[],
        price_version_id=987_654,
        charged_nanos=0,
        cost_nanos=0,
    )
    page = staff.get(url_of(record.pk)).content.decode()
    assert "No upstream was called." in page
    assert "not on file" in page
    assert "free for the customer" in page


def test_the_page_takes_the_permission_and_changes_nothing(
    staff: Client, record: UsageRecord, alice: User
) -> None:
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.exclude(codename="view_usagerecord"))
    assert signed_in(clerk).get(url_of(record.pk)).status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="view_usagerecord"))
    clerk = User.objects.get(pk=clerk.pk)
    assert signed_in(clerk).get(url_of(record.pk)).status_code == 200
    assert signed_in(alice).get(url_of(record.pk)).status_code == 302
    assert staff.post(url_of(record.pk), {"charged_nanos": "0"}).status_code == 403
    assert staff.get(url_of(uuid.uuid4())).status_code == 404


def test_the_page_takes_few_queries(staff: Client, record: UsageRecord) -> None:
    staff.get(url_of(record.pk))
    with CaptureQueriesContext(connection) as captured:
        staff.get(url_of(record.pk))
    assert len(captured) <= 16
