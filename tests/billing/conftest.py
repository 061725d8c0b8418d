"""What the ledger's tests share."""

from collections.abc import Iterator

import pytest
from django.test import TransactionTestCase

from billing import invariants


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_flushed() -> Iterator[None]:
    """Leaves what committing tests wrote, instead of Django's flush.

    The transfers' guard refuses TRUNCATE, and rightly so: nothing empties the ledger. Every test
    makes its own teams, so what others left is in nobody's way.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: None)
        yield


@pytest.fixture
def books_are_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """Proves the invariants after the test."""
    request.getfixturevalue("_django_db_helper")
    yield
    assert broken_invariants() == {}


def broken_invariants() -> dict[str, list[str]]:
    """Returns what the invariants' check finds wrong."""
    return {
        finding.invariant.name: finding.examples for finding in invariants.check() if finding.count
    }
