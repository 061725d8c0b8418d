"""The stand-in's disputes and early fraud warnings."""

import pytest
import stripe

WITHDRAWN = "charge.dispute.funds_withdrawn"
REINSTATED = "charge.dispute.funds_reinstated"


@pytest.fixture
def charge(simulator):
    """A charge of 1000 cents, its events taken."""
    charge = simulator.paid_charge()
    simulator.take()
    return charge


def kinds(simulator) -> list[str]:
    return [event["type"] for event in simulator.take()]


def test_a_dispute_takes_the_money_and_a_won_one_brings_it_back(simulator, client, charge) -> None:
    dispute = simulator.control("dispute", charge=charge.id, reason="product_not_received")
    assert kinds(simulator) == ["charge.dispute.created", WITHDRAWN]
    seen = client.v1.disputes.retrieve(dispute["id"])
    assert (seen.status, seen.amount, seen.reason) == (
        "needs_response",
        1000,
        "product_not_received",
    )
    (taken,) = seen.balance_transactions
    assert (taken.amount, taken.fee, taken.net) == (-1000, 1500, -2500)
    assert client.v1.charges.retrieve(charge.id).disputed

    simulator.control("close_dispute", dispute=seen.id, won=True)

    assert sorted(kinds(simulator)) == ["charge.dispute.closed", REINSTATED]
    seen = client.v1.disputes.retrieve(seen.id)
    assert (seen.status, [each.amount for each in seen.balance_transactions]) == (
        "won",
        [-1000, 1000],
    )
    moved = client.v1.balance_transactions.list({"type": "adjustment", "expand": ["data.source"]})
    assert [each.source.id for each in moved.data] == [seen.id, seen.id]
    assert [each.reporting_category for each in moved.data] == ["dispute_reversal", "dispute"]


def test_a_lost_dispute_keeps_part_of_the_money(simulator, client, charge) -> None:
    dispute = simulator.control("dispute", charge=charge.id, amount=300)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_disputed"
    simulator.control("close_dispute", dispute=dispute["id"], won=False)
    assert client.v1.disputes.retrieve(dispute["id"]).status == "lost"
    assert REINSTATED not in kinds(simulator)
    found = client.v1.disputes.list({"payment_intent": charge.payment_intent}).data
    assert [each.amount for each in found] == [300]


def test_an_inquiry_takes_nothing_until_it_is_a_dispute(simulator, client, charge) -> None:
    dispute = simulator.control("dispute", charge=charge.id, withdraw=False)
    assert kinds(simulator) == ["charge.dispute.created"]
    assert client.v1.disputes.retrieve(dispute["id"]).status == "warning_needs_response"
    assert client.v1.refunds.create({"charge": charge.id, "amount": 100}).status == "succeeded"
    simulator.take()
    simulator.control("withdraw", dispute=dispute["id"])
    assert kinds(simulator) == ["charge.dispute.updated", WITHDRAWN]
    assert client.v1.disputes.retrieve(dispute["id"]).status == "needs_response"

    calm = simulator.control("dispute", charge=charge.id, withdraw=False)
    simulator.control("close_dispute", dispute=calm["id"], won=True)
    assert client.v1.disputes.retrieve(calm["id"]).status == "warning_closed"
    assert REINSTATED not in kinds(simulator)


def test_part_of_the_money_may_come_back(simulator, client, charge) -> None:
    dispute = simulator.control("dispute", charge=charge.id)
    simulator.control("reinstate", dispute=dispute["id"], amount=400)
    simulator.control("close_dispute", dispute=dispute["id"], won=False)
    seen = client.v1.disputes.retrieve(dispute["id"])
    assert [each.amount for each in seen.balance_transactions] == [-1000, 400]


def test_the_issuer_warns_of_fraud(simulator, client, charge) -> None:
    simulator.control("fraud_warning", charge=charge.id)
    assert kinds(simulator) == ["radar.early_fraud_warning.created"]
    (warning,) = client.v1.radar.early_fraud_warnings.list({"charge": charge.id}).data
    assert (warning.payment_intent, warning.actionable) == (charge.payment_intent, True)
