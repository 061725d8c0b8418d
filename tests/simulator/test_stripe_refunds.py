"""The stand-in's refunds and the balance they leave."""

import pytest
import stripe


def moved(client) -> list[tuple[str, int]]:
    """The balance transactions, oldest first."""
    found = client.v1.balance_transactions.list({"limit": 100}).data
    return [(each.type, each.amount) for each in reversed(found)]


def test_refunds_never_exceed_the_charge(simulator, client) -> None:
    charge = simulator.paid_charge()
    part = client.v1.refunds.create({"payment_intent": charge.payment_intent, "amount": 400})
    assert (part.status, part.amount, part.charge) == ("succeeded", 400, charge.id)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"charge": charge.id, "amount": 601})
    assert client.v1.refunds.create({"charge": charge.id, "metadata": {"n": "2"}}).amount == 600
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"
    charge = client.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    assert [refund.amount for refund in charge.refunds.data] == [600, 400]
    assert moved(client) == [("charge", 1000), ("refund", -400), ("refund", -600)]
    kinds = [event["type"] for event in simulator.take()]
    assert (kinds.count("refund.created"), kinds.count("charge.refunded")) == (2, 2)


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_a_pending_refund_is_decided_later(simulator, client, status) -> None:
    charge = simulator.paid_charge()
    simulator.control("next_refunds", statuses=["pending"])
    refund = client.v1.refunds.create({"charge": charge.id, "amount": 400})
    assert refund.status == "pending"
    simulator.take()

    simulator.control("finish_refund", refund=refund.id, status=status)

    refund = client.v1.refunds.retrieve(refund.id)
    assert refund.status == status
    returned = status != "succeeded"
    charge = client.v1.charges.retrieve(charge.id)
    assert charge.amount_refunded == (0 if returned else 400)
    assert (("refund_failure", 400) in moved(client)) == returned
    assert bool(refund.failure_balance_transaction) == returned
    kinds = [event["type"] for event in simulator.take()]
    assert "refund.updated" in kinds
    assert ("refund.failed" in kinds) == (status == "failed")


def test_a_refund_that_succeeded_may_still_fail(simulator, client) -> None:
    charge = simulator.paid_charge()
    refund = client.v1.refunds.create({"charge": charge.id})
    simulator.control("finish_refund", refund=refund.id, status="failed")
    failed = client.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    assert client.v1.refunds.create({"charge": charge.id}).amount == 1000


def test_a_refund_can_fail_at_once_or_come_from_the_dashboard(simulator, client) -> None:
    charge = simulator.paid_charge()
    simulator.control("next_refunds", statuses=["failed"])
    assert client.v1.refunds.create({"charge": charge.id}).status == "failed"
    simulator.control("refund", charge=charge.id, amount=250)
    made = client.v1.refunds.list({"payment_intent": charge.payment_intent}).data[0]
    assert (made.amount, made.metadata.to_dict()) == (250, {})
    assert client.v1.charges.retrieve(charge.id).amount_refunded == 250


def test_the_balance_is_listed_by_time_type_and_page(simulator, client) -> None:
    charge = simulator.paid_charge()
    client.v1.refunds.create({"charge": charge.id, "amount": 100})
    simulator.control("stripe_fee", amount=5, description="Automatic Tax")
    simulator.control("payout", amount=500)
    kinds = [("charge", 1000), ("refund", -100), ("stripe_fee", -5), ("payout", -500)]
    assert moved(client) == kinds
    transactions = client.v1.balance_transactions
    paged = list(transactions.list({"limit": 1}).auto_paging_iter())
    assert [(each.type, each.amount) for each in paged] == kinds[::-1]
    (one,) = transactions.list({"type": "refund", "expand": ["data.source"]}).data
    assert (one.source.object, one.source.charge) == ("refund", charge.id)
    (first,) = transactions.list({"type": "charge"}).data
    assert (first.fee, first.net, first.fee_details[0].amount) == (59, 941, 59)
    simulator.control("age", id=first.id, seconds=3600)
    since = {"gte": first.created - 60}
    assert "charge" not in [each.type for each in transactions.list({"created": since}).data]
    older = transactions.list({"created": {"lt": first.created - 60}}).data
    assert [each.id for each in older] == [first.id]
