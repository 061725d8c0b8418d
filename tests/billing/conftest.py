"""What the ledger's tests share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from billing.ledger import invariants


@pytest.fixture(scope="module", autouse=True)
def _flushed_once(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Leaves what committing tests wrote until the end of their file: a flush takes longer than
    most of them. Every test makes its own teams, so what others left is in nobody's way.
    """
    flush = TransactionTestCase._fixture_teardown
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: None)
        yield
    with django_db_blocker.unblock():
        flush(TransactionTestCase())


@pytest.fixture
def books_are_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """Proves the invariants after the test."""
    request.getfixturevalue("_django_db_helper")
    yield
    assert broken_invariants() == {}


@pytest.fixture
def spool_folder(settings: Any, tmp_path: Path) -> Path:
    """A spool of the test's own, which does not exist yet."""
    settings.SPOOL_DIR = tmp_path / "var" / "spool"
    return settings.SPOOL_DIR


def broken_invariants() -> dict[str, list[str]]:
    """Returns what the invariants' check finds wrong."""
    return {
        finding.invariant.name: finding.examples for finding in invariants.check() if finding.count
    }
