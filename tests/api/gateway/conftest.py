"""Fixtures of tests with a real ledger."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.ledger import postings
from billing.models import CreditAccount, Reservation
from tests.billing.gates import database
from tests.cast import IssuedKey

CREDIT_NANOS = 10**10


@pytest.fixture
def key(alices_account: CreditAccount, alices_key: IssuedKey, settings: Any) -> Iterator[str]:
    settings.DATABASE_URL = database()
    postings.grant(alices_account, amount_nanos=CREDIT_NANOS, reference="test", memo="")
    yield alices_key.plaintext
    assert not Reservation.objects.filter(state="open").exists()
