"""`make faults`: each row is described, and each fault test belongs to one."""

import re
import subprocess
import sys

from tests.test_house import ROOT

DESCRIBED = set(
    re.findall(r"^\| `(\w+)` \|", (ROOT / "platform/docs/faults.md").read_text(), re.MULTILINE)
)


def collected(*options: str) -> tuple[int, str]:
    """Return the exit code of a collection of the fault tests, and what it printed."""
    command = [sys.executable, "-m", "pytest", "tests/faults", "-p", "tests.faults.rows"]
    command += ["--collect-only", "-q", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_row_is_described_and_can_be_run_alone() -> None:
    code, said = collected("--row", "nothing")
    assert code == 4
    (names,) = re.findall(r"there are (.*)\.", said)
    assert set(names.split(", ")) == DESCRIBED
    code, said = collected("--row", "valkey")
    assert code == 0
    found = set(re.findall(r"^tests/faults/(\w+)\.py", said, re.MULTILINE))
    assert found == {"test_valkey_away", "test_shared_counts"}
