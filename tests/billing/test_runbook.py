"""The runbook: a line for each kind of alert, and the operations manual prints the same."""

import re
from pathlib import Path

from billing.ledger.alerts import RUNBOOK, runbook_line

ROOT = Path(__file__).resolve().parents[2]


def kinds_raised() -> set[str]:
    """Return the kinds that the product's code names, in Python and in SQL."""
    found: set[str] = set()
    for folder in ("accounts", "api", "billing", "platform/portal", "platform/config"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r'raise_alert\(\s*"(\w+)"', path.read_text()))
    for path in (ROOT / "billing" / "ledger" / "sql").glob("*.sql"):
        for statement in re.findall(
            r"INSERT INTO billing_ledgeralert.*?FROM", path.read_text(), re.S
        ):
            found |= set(re.findall(r"(?:THEN|ELSE|SELECT) '(\w+)'", statement))
    return found


def test_every_kind_that_is_raised_has_a_line() -> None:
    raised = kinds_raised()
    assert {"invariant", "written_off", "hold_overrun", "stripe_event", "test"} <= raised
    assert raised | {"alert_target_failing"} == set(RUNBOOK)


def test_the_manual_prints_the_runbook() -> None:
    manual = (ROOT / "platform" / "docs" / "operations.md").read_text()
    _, _, table = manual.partition(
        "| kind | severity | meaning | what to do |\n|---|---|---|---|\n"
    )
    rows = table.partition("\n\n")[0].splitlines()
    assert rows == [
        f"| `{kind}` | {line.severity} | {line.meaning} | {line.action} |"
        for kind, line in RUNBOOK.items()
    ]


def test_an_unknown_kind_is_critical() -> None:
    assert runbook_line("something new").severity == "critical"
