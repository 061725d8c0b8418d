"""A fault that is put into the code, and the tests that must notice."""

from dataclasses import dataclass

from billing.ledger import install

_SUBJECTS = {
    subject: str(install.current_path(subject).relative_to(install.FOLDER.parents[2]))
    for subject in (
        *("admit", "extend", "settle", "sweep", "lease", "growth", "post", "guards", "lots"),
        *("give_back", "checks", "budgets", "carry"),
    )
}
ADMIT, EXTEND, SETTLE, SWEEP, LEASE, GROWTH, POST, GUARDS, LOTS, *_OTHERS = _SUBJECTS.values()
GIVE_BACK, CHECKS, BUDGETS, CARRY = _OTHERS
GATE, SPOOL, GROUP_COMMIT, INSTALL, CHARGE_INVARIANTS = (
    "billing/ledger/gate.py",
    "billing/ledger/spool.py",
    "billing/ledger/group_commit.py",
    "billing/ledger/install.py",
    "billing/ledger/charge_invariants.py",
)
IDEMPOTENCY = "api/gateway/idempotency_store.py"
TABLES = "billing/migrations/0001_initial.py"


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
