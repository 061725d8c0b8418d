"""Takes the ledger's safeguards out one at a time, and proves that the tests notice.

`python -m tests.mutation [WORD ...]` works on a copy of the tree and on a database of its own, and
runs the tests that are listed beside each mutant (those whose names hold a WORD). It exits with 1
if a mutant survives one of its tests, or if a test is red without any.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from tests.mutation.budget_mutants import BUDGET_MUTANTS
from tests.mutation.ledger_mutants import LEDGER_MUTANTS
from tests.mutation.metering_mutants import METERING_MUTANTS
from tests.mutation.mutant import Mutant
from tests.mutation.payment_mutants import PAYMENT_MUTANTS
from tests.mutation.process_mutants import PROCESS_MUTANTS

MUTANTS = [*BUDGET_MUTANTS, *LEDGER_MUTANTS, *PROCESS_MUTANTS, *METERING_MUTANTS, *PAYMENT_MUTANTS]

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "staticfiles")
RUN_SECONDS = 300


def main(words: list[str]) -> int:
    """Run the mutants and return the exit code."""
    mutants = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        named = sorted({test for mutant in mutants for test in mutant.tests})
        red = {test for test, is_red in outcomes(tree, named).items() if is_red is not False}
        for test in sorted(red):
            print(f"RED WITHOUT A MUTANT  {test}", flush=True)
        survivors = sum([not is_killed(tree, mutant) for mutant in mutants])
    print(f"{len(mutants)} mutants, {survivors} survived.")
    return 1 if survivors or red or not mutants else 0


def is_killed(tree: Path, mutant: Mutant) -> bool:
    """Tell whether every test that is listed beside the mutant turns red."""
    began_at = time.monotonic()
    kept = {file: (tree / file).read_text() for file, _, _ in mutant.edits}
    try:
        for file, old, new in mutant.edits:
            text = (tree / file).read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{mutant.name}: {file} has {text.count(old)} times {old!r}")
            (tree / file).write_text(text.replace(old, new))
        found = outcomes(tree, list(mutant.tests))
    finally:
        for file, text in kept.items():
            (tree / file).write_text(text)
    green = [test for test, is_red in found.items() if not is_red]
    verdict = "SURVIVED" if green else "killed"
    print(f"{verdict:8} {time.monotonic() - began_at:5.1f} s  {mutant.name}", flush=True)
    for test in mutant.tests:
        print(f"    {'GREEN' if test in green else 'red  '} {test}", flush=True)
    return not green


def outcomes(tree: Path, tests: list[str]) -> dict[str, bool | None]:
    """Run tests and tell of each whether it is red (any of its cases), or None if it is lost."""
    report = tree.parent / "report.xml"
    report.unlink(missing_ok=True)
    nodes = [f"tests/{test}" if "/" in test else f"tests/billing/{test}" for test in tests]
    command = ["-m", "pytest", "-q", "--tb=no", "--create-db", "-p", "no:cacheprovider"]
    subprocess.run(
        [sys.executable, *command, f"--junitxml={report}", *nodes],
        cwd=tree,
        env=environment(tree),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=RUN_SECONDS,
        check=False,
    )
    if not report.exists():
        return dict.fromkeys(tests, None)
    cases = [(case_name(case), is_red(case)) for case in ET.parse(report).iter("testcase")]
    reds = {test: [red for name, red in cases if belongs(name, test)] for test in tests}
    return {test: any(found) if found else None for test, found in reds.items()}


def case_name(case: ET.Element) -> str:
    """Return a case's name as the list has it: file, test and parameters."""
    file = case.get("classname", "").rpartition(".")[2]
    return f"{file}.py::{case.get('name')}"


def is_red(case: ET.Element) -> bool:
    """Tell whether a case failed, in the test or in the proof after it.

    A test that could not even be set up has noticed nothing.
    """
    error = case.find("error")
    is_after = error is not None and "teardown" in error.get("message", "")
    return is_after or case.find("failure") is not None


def belongs(case: str, test: str) -> bool:
    """Tell whether a case is the test, or one of its parameters."""
    file, _, rest = test.partition("::")
    name = f"{file.rpartition('/')[2]}::{rest}"
    return case == name or case.startswith(f"{name}[")


def environment(tree: Path) -> dict[str, str]:
    """Return the environment of a run: the copy's modules, and a database of its own."""
    url = urlsplit(os.environ["DATABASE_URL"])
    own = url._replace(path=f"{url.path or '/tollgate'}_mutants")
    return os.environ | {
        "DATABASE_URL": own.geturl(),
        "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'platform'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
