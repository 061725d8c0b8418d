"""Many permutations of one test: a sample of them here, all of them in CI."""

import os
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
IN_CI = os.environ.get("CI") == "true"
_seeds: list[str] = []


def seed_choices(seed: str) -> None:
    """Let `one_of` and `half_of` choose by this seed, which all workers of a run share."""
    _seeds[:] = [seed]


def one_of(name: str, *cases: T) -> list[T]:
    """Return all the cases where CI is `true`, elsewhere one of them: a test's parameters.

    The run's seed and the name, the test's, decide which; a failed run prints the seed.
    """
    return list(cases) if IN_CI else [_random(name).choice(cases)]


def half_of(name: str, cases: Sequence[T]) -> list[T]:
    """Return all the cases where CI is `true`, elsewhere a half of them, chosen like `one_of`."""
    return list(cases) if IN_CI else _random(name).sample(cases, (len(cases) + 1) // 2)


def sampled(cases: Iterable[T], number: int) -> list[T]:
    """Return all the cases where CI is `true`; elsewhere the first, the last and others by chance,
    `number` in all. A test's failure must name its case.
    """
    every = list(cases)
    if IN_CI or len(every) <= number:
        return every
    return [every[0], *random.sample(every[1:-1], number - 2), every[-1]]


def _random(name: str) -> random.Random:
    return random.Random(f"{name} {_seeds}")
