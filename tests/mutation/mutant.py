"""A fault that is put into the code, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A fault: texts to replace (each occurs once), and the tests that must turn red with it.

    A test is named from `tests/billing/`, or with its folder from `tests/`.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


def mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """Return a mutant of one edit."""
    return Mutant(name, ((file, old, new),), tests)
