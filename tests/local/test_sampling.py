"""What is only sampled elsewhere is whole in CI."""

from pathlib import Path

import pytest

from tests.support import sampling

CASES = list(range(9))
CI = Path(__file__).parents[2] / ".ci" / "run"


def test_in_ci_every_case_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "IN_CI", True)
    assert sampling.one_of("a test", *CASES) == CASES
    assert sampling.half_of("a test", CASES) == CASES
    assert sampling.sampled(iter(CASES), 4) == CASES


def test_elsewhere_some_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "IN_CI", False)
    (one,) = sampling.one_of("a test", *CASES)
    half = sampling.half_of("a test", CASES)
    few = sampling.sampled(iter(CASES), 4)
    assert one in CASES
    assert (len(half), len(few)) == (5, 4)
    assert set(half) < set(CASES)
    assert (few[0], few[-1]) == (0, 8)
    assert len(set(few)) == 4


def test_the_run_of_ci_says_that_it_is_one() -> None:
    lines = CI.read_text().splitlines()
    assert lines.index("export CI=true") < lines.index("make test")
