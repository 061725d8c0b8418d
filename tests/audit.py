"""The independent audit of the ledger: `python -m tests.audit [DATABASE_URL]`.

Prints what `audit.sql` finds, and exits with 1 if it finds anything. It knows the tables and
nothing of the product's own check.
"""

import os
import sys
from pathlib import Path
from typing import Any

import psycopg

AUDIT = Path(__file__).with_name("audit.sql")


def findings(connection: Any) -> list[tuple[str, str]]:
    """Return the audit's findings, each a check's name and what was found."""
    with connection.cursor() as cursor:
        cursor.execute(AUDIT.read_text())
        while cursor.nextset():
            pass
        return list(cursor.fetchall())


def findings_at(url: str) -> list[tuple[str, str]]:
    """Return the findings in a database, read in one snapshot; nothing in it changes."""
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = findings(connection)
        connection.rollback()
    return found


def main(arguments: list[str]) -> int:
    """Print the findings, and return the exit code."""
    found = findings_at(arguments[0] if arguments else os.environ["DATABASE_URL"])
    for check, detail in found:
        print(f"{check:10} {detail}")
    print(f"{len(found)} findings.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
