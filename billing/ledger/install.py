"""The ledger's functions in the database: the files of `sql/`, installed by migrations.

A change of a file comes with a migration that calls `install` once more.
"""

from pathlib import Path
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

FOLDER = Path(__file__).parent / "sql"
FILES = (
    "types",
    "guards",
    "admit",
    "settle",
    "sweep",
    "lots",
    "post",
    "give_back",
    "rollup",
)

# What an earlier version installed goes first: a function whose columns change can't be replaced.
# The guards' are replaced in place, since triggers hold on to them.
DROP = """
DO $$
DECLARE
    old regprocedure;
BEGIN
    FOR old IN
        SELECT oid FROM pg_proc
        WHERE proname LIKE 'billing\\_%' AND pronamespace = current_schema()::regnamespace
              AND prorettype <> 'trigger'::regtype
    LOOP
        EXECUTE 'DROP FUNCTION ' || old;
    END LOOP;
END
$$
"""


def install(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Brings the functions to what the files say (for `migrations.RunPython`)."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(DROP)
        # An early migration installs functions for tables that a later one makes.
        cursor.execute("SET LOCAL check_function_bodies = off")
        for name in FILES:
            # No parameters, so a percent sign in the files stays one.
            cursor.execute((FOLDER / f"{name}.sql").read_text())
