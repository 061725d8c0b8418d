"""How migrations change a ledger that is in use.

The ledger's functions are the files of `sql/`, named `<subject>_v<version>.sql`. Each is complete:
it holds every function of its subject. `sql/` has the current version of every subject, and
`sql/superseded/` those before, which migrations still install on the way. A file that was released
is never edited (`sql/released.sha256`); a change is a file of the next version, and a migration
with `InstallFunctions` in it.

Processes of two releases call the functions while an upgrade is under way. So `CREATE OR REPLACE`
keeps a function's arguments and columns; one that needs others gets a name of its own, and the old
name goes on working until a later release. Rows that come as JSON may lack fields, or have more.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

FOLDER = Path(__file__).parent / "sql"
NAME = re.compile(r"(?P<subject>\w+)_v(?P<version>\d+)\.sql")

# A statement that waits for a table's lock has everything after it wait as well: a settlement
# patiently, an admission for two seconds (gate.ADMIT_PATIENCE_SECONDS).
LOCK_TIMEOUT_MS = 200
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 300
GIVES_WAY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected


def path_of(subject: str, version: int) -> Path:
    """Return the file of a version, whether it is current or superseded."""
    name = f"{subject}_v{version}.sql"
    current = FOLDER / name
    return current if current.exists() else FOLDER / "superseded" / name


def current_path(subject: str) -> Path:
    """Return the file that holds the current version of a subject's functions."""
    (path,) = FOLDER.glob(f"{subject}_v*.sql")
    return path


class InstallFunctions(Operation):
    """Install a version of a subject's functions; backwards, the version before it.

    It replaces what is there, takes no lock of a table, and leaves functions of other names alone.
    """

    reversible = True

    def __init__(self, subject: str, version: int) -> None:
        self.subject = subject
        self.version = version

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: functions are no part of the models' state."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the file."""
        schema_editor.execute(path_of(self.subject, self.version).read_text(), params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the file of the version before, if there was one."""
        if self.version > 1:
            schema_editor.execute(path_of(self.subject, self.version - 1).read_text(), params=None)

    def describe(self) -> str:
        """Return what `migrate` prints."""
        return f"Install version {self.version} of the {self.subject} functions"


class WithLockTimeout(Operation):
    """Run operations that lock a table in use: wait for a lock briefly, give way, try again.

    They are undone and started again together, so keep to one table, and to what takes no time
    under the lock. Raise OperationalError after PATIENCE_SECONDS.
    """

    reversible = True

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change the models' state as the operations do."""
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Run the operations in their order."""

        def run(editor: BaseDatabaseSchemaEditor) -> None:
            before = from_state
            for operation in self.operations:
                after = before.clone()
                operation.state_forwards(app_label, after)
                operation.database_forwards(app_label, editor, before, after)
                before = after

        _until_locked(schema_editor, run)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Undo the operations, the last one first."""
        states = [to_state]
        for operation in self.operations:
            states.append(states[-1].clone())
            operation.state_forwards(app_label, states[-1])

        def run(editor: BaseDatabaseSchemaEditor) -> None:
            for index, operation in reversed(list(enumerate(self.operations))):
                operation.database_backwards(app_label, editor, states[index + 1], states[index])

        _until_locked(schema_editor, run)

    def describe(self) -> str:
        """Return what `migrate` prints."""
        return "; ".join(operation.describe() for operation in self.operations)


class WaitForEarlierTransactions(Operation):
    """Wait for transactions that began before: they may run functions that were replaced since.

    Needed before rows are brought in line with what the new functions write. Raises
    OperationalError after PATIENCE_SECONDS.
    """

    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Wait until none is left."""
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (began_at,) = cursor.fetchone()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while backends := _transactions_before(cursor, began_at):
                if time.monotonic() > deadline:
                    raise OperationalError(f"Transactions stay open: {backends}. End them.")
                time.sleep(PAUSE_SECONDS)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Do nothing."""


def _transactions_before(cursor: Any, moment: Any) -> list[int]:
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start < %s",
        [moment],
    )
    return [pid for (pid,) in cursor.fetchall()]


def _until_locked(
    schema_editor: BaseDatabaseSchemaEditor, run: Callable[[BaseDatabaseSchemaEditor], None]
) -> None:
    """Run something in a savepoint, again and again while others hold the lock it needs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with schema_editor.connection.schema_editor(atomic=True) as editor:
                editor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
                run(editor)
        except OperationalError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state not in GIVES_WAY or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return
