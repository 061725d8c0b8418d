"""A database for each worker of the tests, cloned from a migrated one, and its quick reset."""

import contextlib
from collections.abc import Iterator

from django.conf import settings
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

TEMPLATE = "migrated"  # see local/testing.py

# `original` keeps the rows that the migrations made; `original.restore` brings them back and
# empties every other table. As a replica, the session fires no trigger: neither the ledger's guards
# nor foreign keys. Most tables are empty, so that a look at each costs far less than TRUNCATE.
KEEP = """
CREATE SCHEMA original;
CREATE VIEW original.tables AS
    SELECT relname::text AS name FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition;

DO $$
DECLARE name text; filled boolean;
BEGIN
    FOR name IN TABLE original.tables LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', name) INTO filled;
        IF filled THEN
            EXECUTE format('CREATE TABLE original.%1$I AS TABLE public.%1$I', name);
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION original.restore() RETURNS void LANGUAGE plpgsql
SET session_replication_role = replica AS $$
DECLARE name text; changed boolean;
BEGIN
    FOR name IN TABLE original.tables LOOP
        IF to_regclass(format('original.%I', name)) IS NULL THEN
            EXECUTE format('DELETE FROM public.%I', name);
            CONTINUE;
        END IF;
        EXECUTE format(
            'SELECT (SELECT array_agg(row::text ORDER BY row::text) FROM public.%1$I row)'
            ' IS DISTINCT FROM'
            ' (SELECT array_agg(row::text ORDER BY row::text) FROM original.%1$I row)', name
        ) INTO changed;
        IF changed THEN
            EXECUTE format('DELETE FROM public.%I', name);
            EXECUTE format(
                'INSERT INTO public.%1$I OVERRIDING SYSTEM VALUE TABLE original.%1$I', name
            );
        END IF;
    END LOOP;
END $$;
"""


def has_template() -> bool:
    """Return whether the server has a migrated database to clone (`make mutation`'s has none)."""
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [TEMPLATE])
        return cursor.fetchone() is not None


def clone() -> None:
    """Make a database of this worker's own from the migrated one, and connect Django to it."""
    name = connection.creation._get_test_db_name()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
    connection.close()
    settings.DATABASES[connection.alias]["NAME"] = name
    connection.settings_dict["NAME"] = name


def keep_rows() -> None:
    """Note the rows that are there now, for `restore_rows`."""
    with connection.cursor() as cursor:
        cursor.execute(KEEP)


def restore_rows() -> None:
    """Bring all tables back to the rows of `keep_rows`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT original.restore()")


@contextlib.contextmanager
def shared_rows(blocker: DjangoDbBlocker) -> Iterator[None]:
    """Keep the rows that are made here for all the tests until the end, and then undo them.

    Each test is within a savepoint, and so must not be transactional. Objects in memory are not
    put back: a test that changes one reads it again.
    """
    with blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)
