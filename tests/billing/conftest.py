"""What the ledger's tests share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.ledger import invariants, spool


@pytest.fixture
def books_are_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prove the invariants after the test."""
    request.getfixturevalue("_django_db_helper")
    yield
    assert broken_invariants() == {}


@pytest.fixture
def spool_folder(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool of the test's own, which does not exist yet."""
    settings.SPOOL_DIR = tmp_path / "var" / "spool"
    settings.SPOOL_FALLBACK_DIR = None
    monkeypatch.setattr(spool, "_failures", [])
    return settings.SPOOL_DIR


def broken_invariants() -> dict[str, list[str]]:
    """Return what the invariants' check finds wrong."""
    return {
        finding.invariant.name: finding.examples for finding in invariants.check() if finding.count
    }
