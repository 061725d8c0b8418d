"""Many permutations of one test: a sample of them here, all of them in CI."""

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
IN_CI = os.environ.get("CI") == "true"


def sampled(cases: Iterable[T], number: int) -> list[T]:
    """Return all the cases where CI is `true`; elsewhere the first, the last and others by chance,
    `number` in all. A test's failure must name its case.
    """
    every = list(cases)
    if IN_CI or len(every) <= number:
        return every
    return [every[0], *random.sample(every[1:-1], number - 2), every[-1]]
