"""Databases of the last release, which tests upgrade."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management import call_command
from django.db import connection

# The newest migrations of the last release; `last_release/` has what its databases and processes
# look like. A release moves both on.
LAST_RELEASE = "0007_payments"


@contextmanager
def last_release_database() -> Iterator[str]:
    """Give the name of an empty database of the last release, to be a template."""
    name = f"upgrade_{secrets.token_hex(4)}"
    _execute(f'CREATE DATABASE "{name}"')
    try:
        with connected_to(name):
            call_command("migrate", "accounts", verbosity=0)
            migrate(LAST_RELEASE)
        yield name
    finally:
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def upgraded_database(template: str) -> Iterator[str]:
    """Give the name of an upgraded copy of a database, to be a template."""
    name = f"upgrade_{secrets.token_hex(4)}"
    _execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        with connected_to(name):
            migrate()
        yield name
    finally:
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def copy_of(template: str) -> Iterator[None]:
    """Put Django's connection to a copy of a database, which is gone afterwards."""
    name = f"upgrade_{secrets.token_hex(4)}"
    _execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        with connected_to(name):
            yield
    finally:
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def connected_to(name: str) -> Iterator[None]:
    """Put Django's connection to another database for a while."""
    usual = connection.settings_dict["NAME"]
    _connect_to(name)
    try:
        yield
    finally:
        _connect_to(usual)


def migrate(migration: str | None = None) -> None:
    """Bring billing's tables and functions to a migration, or to the newest."""
    call_command("migrate", "billing", *[migration] if migration else [], verbosity=0)


def function_definitions() -> dict[str, str]:
    """Return the ledger's functions by their signature."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc"
            " WHERE proname LIKE 'billing\\_%%' AND pronamespace = current_schema()::regnamespace"
        )
        return dict(cursor.fetchall())


def _connect_to(name: str) -> None:
    connection.close()
    connection.close_pool()  # which would go on with connections to the database before
    connection.settings_dict["NAME"] = name


def _execute(statement: str) -> None:
    """Execute a statement beside the database that it is about."""
    parameters = connection.get_connection_params() | {"dbname": "postgres"}
    names = ("dbname", "user", "password", "host", "port")
    address = psycopg.conninfo.make_conninfo(
        **{name: parameters[name] for name in names if parameters.get(name)}
    )
    with psycopg.connect(address, autocommit=True) as own:
        own.execute(statement)
