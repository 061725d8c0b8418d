"""Videos and asynchronous chats are charged at the contract price that they were admitted at."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.jobs import poll
from api.models import ChatJob
from billing.models import ContractPrice, PriceVersion, Product, UsageRecord
from tests.api.test_async_chats import OK, run_round
from tests.api.test_async_chats import make_job as make_chat
from tests.api.test_videos import COMPLETED, PRICE
from tests.api.test_videos import make_job as make_video
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, database, make_customer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def customer(settings: Any) -> Customer:
    settings.DATABASE_URL = database()
    return make_customer(100_000_000)


def contract_of(customer: Customer, sku: str, **fields: Any) -> ContractPrice:
    """Make a contract of the customer's, at half of the list price, that has just ended."""
    now = timezone.now()
    known = {"factor_millionths": 500_000, "ends_at": now, "state": "approved", "decided_at": now}
    return ContractPrice.objects.create(
        team=customer.team,
        product=Product.objects.get_or_create(sku=sku)[0],
        effective_from=now - timedelta(hours=3),
        reason="Signed",
        **(known | fields),
    )


@pytest.mark.parametrize(
    ("fields", "amount", "line"),
    [
        ({}, PRICE // 2, ["piece", 1, PRICE, 1, PRICE // 2, 500_000, 0, ""]),
        (
            {"factor_millionths": 1_000_000, "has_own_rates": True, "piece_nanos": 30},
            30,
            ["piece", 1, 30, 1, 30, 1_000_000, 0, ""],
        ),
    ],
)
def test_a_video_is_charged_at_the_price_of_its_order(
    customer: Customer, fields: dict[str, Any], amount: int, line: list[Any]
) -> None:
    contract = contract_of(customer, "video", **fields)
    job = make_video(customer, cost_nanos=amount, contract=contract)

    poll.conclude(job, COMPLETED, is_overdue=False)

    record = UsageRecord.objects.get(pk=job.pk)
    assert (record.lines, record.charged_nanos) == ([[*line, contract.pk]], amount)
    assert broken_invariants() == {}


@pytest.mark.parametrize("is_under_contract", [True, False])
def test_a_chat_is_charged_at_the_price_of_its_admission(
    customer: Customer, is_under_contract: bool
) -> None:
    contract = contract_of(customer, "chatter")
    job = make_chat(customer, contract=contract if is_under_contract else None)
    # The contract is over by the time that it is answered, or began only after its admission.
    PriceVersion.objects.filter(product__sku="chatter").update(
        effective_from=timezone.now() - timedelta(days=1)
    )
    if not is_under_contract:
        ContractPrice.objects.update(
            effective_from=timezone.now(), ends_at=timezone.now() + timedelta(days=1)
        )
    assert run_round(OK)[0] == 1
    assert ChatJob.objects.get(pk=job.pk).state == "completed"
    record = UsageRecord.objects.get(pk=job.pk)
    expected = (contract.pk, 2_500) if is_under_contract else (None, 5_000)
    assert (record.contract_id, record.charged_nanos) == expected
    assert broken_invariants() == {}
