"""A shipped catalogue in a test's database. A test worker loads it once; later tests get a copy of
the rows, in a fraction of the time.
"""

from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction

from accounts.models import Plan
from api.models import Model, ModelAlias, Route, Service, Upstream
from billing.models import CatalogueVersion, PlanOffer, PriceVersion, Product

# The tables that a load writes, and the primary key of each.
_TABLES = {
    model._meta.db_table: model._meta.pk.column
    for model in (
        *(Service, Plan, PlanOffer, Upstream, Product, PriceVersion, Model, ModelAlias, Route),
        CatalogueVersion,
    )
}


@dataclass(frozen=True)
class _Load:
    """The effect of a load on each table: the ids of deleted or changed rows, and the new rows."""

    former: dict[str, list[Any]]
    rows: dict[str, bytes]


_loads: dict[tuple[str, int], _Load] = {}


def load_catalogue(name: str) -> None:
    """Load a shipped catalogue as the command does with `--replace`.

    The rows are copied if a load of it has started from the same catalogue version before.
    """
    key = name, CatalogueVersion.objects.get(pk=1).version
    if key in _loads:
        _copy(_loads[key])
        return
    before = _texts()
    call_command("load_catalogue", name, "--replace", verbosity=0)
    _loads[key] = _difference(before, _texts())


def _texts() -> dict[str, dict[Any, str]]:
    """Return the text of each row, by table and id."""
    with connection.cursor() as cursor:
        found = {}
        for table, key in _TABLES.items():
            cursor.execute(f"SELECT {key}, t::text FROM {table} t")
            found[table] = dict(cursor.fetchall())
    return found


def _difference(before: dict[str, dict[Any, str]], after: dict[str, dict[Any, str]]) -> _Load:
    former, rows = {}, {}
    with connection.cursor() as cursor:
        for table, key in _TABLES.items():
            old, new = before[table], after[table]
            former[table] = [number for number, text in old.items() if new.get(number) != text]
            made = [number for number, text in new.items() if old.get(number) != text]
            query = f"COPY (SELECT * FROM {table} WHERE {key} = ANY (%s)) TO STDOUT"
            with cursor.copy(query, [made]) as copy:
                rows[table] = b"".join(copy)
    return _Load(former, rows)


def _copy(load: _Load) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # No trigger fires: neither the foreign keys', nor those that advance the version.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table, key in _TABLES.items():
            if load.former[table]:
                cursor.execute(f"DELETE FROM {table} WHERE {key} = ANY (%s)", [load.former[table]])
            if load.rows[table]:
                with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write(load.rows[table])
        cursor.execute("SET LOCAL session_replication_role = origin")
