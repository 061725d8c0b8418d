"""A frozen key's refusal says so, at the gate and to the client; others say no more than before."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey
from api import errors
from api.gateway.admission import refusal
from billing.ledger.gate import AdmissionResult
from billing.ledger.refusal_details import RefusalDetails
from tests.billing.gates import open_gate
from tests.billing.ledger_calls import Customer, make_customer, run

pytestmark = pytest.mark.django_db(transaction=True)


def both(customer: Customer) -> tuple[AdmissionResult, AdmissionResult]:
    """Ask the gate to admit a request with the key, and to identify it."""
    ask = customer.ask()

    async def work() -> tuple[AdmissionResult, AdmissionResult]:
        async with open_gate() as gate:
            return await gate.admit(ask), await gate.identify(ask.request_id, ask.digests)

    return run(work())


def test_a_frozen_key_is_called_frozen_and_holds_nothing() -> None:
    customer = make_customer(1000)
    api_keys.freeze_key(customer.key, is_by_team=True)
    assert [each.code for each in both(customer)] == ["key_frozen", "key_frozen"]
    assert customer.balances == (1000, 0)


@pytest.mark.parametrize(
    "state",
    [
        {"revoked_at": Now()},
        {"frozen_at": Now(), "revoked_at": Now(), "expires_at": Now()},
        {"expires_at": Now()},
        {
            "frozen_at": Now(),
            "expires_at": Now(),
            "unfrozen_expires_at": Now() - timedelta(seconds=1),
        },
    ],
    ids=["revoked", "revoked while frozen", "expired", "expired while frozen"],
)
def test_a_key_that_has_ended_is_invalid_and_no_more(state: dict[str, Any]) -> None:
    customer = make_customer(1000)
    ApiKey.objects.filter(pk=customer.key.pk).update(**state)
    assert {each.code for each in both(customer)} == {"invalid_api_key"}


def test_a_key_that_works_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    customer = make_customer(1000, expires_at=timezone.now() + timedelta(days=1))

    async def fails(*_: Any) -> bool:
        raise AssertionError("looked up")

    monkeypatch.setattr(RefusalDetails, "is_frozen", fails)
    assert [each.code for each in both(customer)] == ["admitted", "identified"]


def test_the_client_reads_what_to_do() -> None:
    error = refusal(AdmissionResult(request_id="x", code="key_frozen"))
    assert isinstance(error, errors.KeyFrozenError)
    assert (error.status, error.code) == (403, "key_frozen")
    assert "Unfreeze it" in str(error)
