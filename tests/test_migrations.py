"""What a migration may do to a database that is in use (platform/docs/operations.md, Upgrades)."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from billing.ledger.install import InstallFunctions, WaitForEarlierTransactions, WithLockTimeout

# The migrations of the last release, which databases have: they stay as they are.
RELEASED = {
    "accounts": "0006_payment_notices",
    "api": "0004_model_health_hours",
    "billing": "0007_payments",
    "portal": "0001_chat",
}
LOCKS_NOTHING = (
    AddIndexConcurrently,
    InstallFunctions,
    RemoveIndexConcurrently,
    WaitForEarlierTransactions,
    migrations.AlterModelManagers,
    migrations.AlterModelOptions,
    migrations.RunPython,
)
CHANGES_TABLES = re.compile(
    r"\b(ALTER|DROP|LOCK|TRUNCATE|TRIGGER|CREATE\s+(UNIQUE\s+)?INDEX)\b", re.I
)
SETS_LOCK_TIMEOUT = re.compile(r"\s*SET LOCAL lock_timeout\b", re.I)
# Django's, the standard library's, and what migrations alone use.
IMPORTS = re.compile(r"(django|datetime|uuid|re|json)(\.|$)|billing\.ledger\.install$")


def problems_of(migration: migrations.Migration, state: ProjectState) -> Iterator[str]:
    """Yield what a migration may not do. `state` is the models' before it, and moves on."""
    has_timeout = False
    for operation in migration.operations:
        has_timeout = has_timeout or bool(SETS_LOCK_TIMEOUT.match(_sql_of(operation)))
        is_wrapped = isinstance(operation, WithLockTimeout)
        parts = operation.operations if is_wrapped else [operation]
        for part in parts:
            yield from _missing_default(part)
            if not (is_wrapped or has_timeout) and _locks(part, state, migration.app_label):
                yield f"{part.describe()}: wrap it in WithLockTimeout"
            part.state_forwards(migration.app_label, state)


def _foreign_imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        else:
            continue
        yield from (
            f"imports {name}, which will change" for name in names if not IMPORTS.match(name)
        )


def _missing_default(operation: Operation) -> Iterator[str]:
    if not isinstance(operation, migrations.AddField):
        return
    field = operation.field
    if field.null or field.many_to_many or field.has_db_default():
        return
    yield f"{operation.describe()}: old processes' rows need null or db_default"


def _locks(operation: Operation, state: ProjectState, app_label: str) -> bool:
    """Tell whether an operation locks a table that others use."""
    if isinstance(operation, LOCKS_NOTHING):
        return False
    if isinstance(operation, migrations.RunSQL):
        return bool(CHANGES_TABLES.search(_sql_of(operation)))
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return any(_locks(part, state, app_label) for part in operation.database_operations)
    if isinstance(operation, migrations.CreateModel):
        fields = [field for _, field in operation.fields]
        return any(field.is_relation and getattr(field, "db_constraint", True) for field in fields)
    if isinstance(operation, migrations.AlterField):
        after = state.clone()
        operation.state_forwards(app_label, after)
        name = (app_label, operation.model_name)
        old, new = (each.apps.get_model(*name) for each in (state, after))
        fields = (model._meta.get_field(operation.name) for model in (old, new))
        with connection.schema_editor(collect_sql=True, atomic=False) as editor:
            editor.alter_field(old, *fields)
        return bool(editor.collected_sql)
    return True


def _sql_of(operation: Operation) -> str:
    if not isinstance(operation, migrations.RunSQL):
        return ""
    parts = [operation.sql] if isinstance(operation.sql, str) else operation.sql
    return "\n".join(part if isinstance(part, str) else part[0] for part in parts)


@pytest.mark.parametrize("app", sorted(RELEASED))
def test_migrations_since_the_last_release_can_run_with_traffic_on(app: str) -> None:
    loader = MigrationLoader(None)
    names = sorted(name for label, name in loader.disk_migrations if label == app)
    found = {}
    for name in names[names.index(RELEASED[app]) + 1 :]:
        state = loader.project_state((app, name), at_end=False)
        migration = loader.disk_migrations[app, name]
        source = Path(inspect.getfile(type(migration))).read_text()
        found[name] = [*_foreign_imports(source), *problems_of(migration, state)]
    assert {name: problems for name, problems in found.items() if problems} == {}


def problems(*operations: Operation) -> list[str]:
    """Return what is wrong with operations on the newest models of billing."""

    class Migration(migrations.Migration):
        pass

    migration = Migration("toy", "billing")
    migration.operations = list(operations)
    state = MigrationLoader(None).project_state()
    return list(problems_of(migration, state))


ADD_NULL = migrations.AddField("order", "toy", models.IntegerField(null=True))


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param([ADD_NULL], id="a column without a lock timeout"),
        pytest.param(
            [
                WithLockTimeout(
                    [migrations.AddField("order", "toy", models.IntegerField(default=1))]
                )
            ],
            id="a column without a default of the database",
        ),
        pytest.param([migrations.RunSQL("alter table billing_order add x int")], id="SQL"),
        pytest.param(
            [migrations.AlterField("order", "failure", models.CharField(max_length=400))],
            id="a column changed",
        ),
        pytest.param(
            [migrations.AddIndex("order", models.Index(fields=["failure"], name="toy"))],
            id="an index that is not made concurrently",
        ),
        pytest.param(
            [
                migrations.CreateModel(
                    "Toy",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        ("order", models.ForeignKey("billing.Order", models.PROTECT)),
                    ],
                )
            ],
            id="a table that refers to another",
        ),
    ],
)
@pytest.mark.django_db
def test_a_migration_that_would_stop_traffic_is_found(operations: list[Operation]) -> None:
    assert len(problems(*operations)) == 1


def test_todays_code_in_a_migration_is_found() -> None:
    source = "from billing.ledger import postings\nimport api.models\nfrom django.db import models"
    assert len(list(_foreign_imports(source))) == 2


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param([WithLockTimeout([ADD_NULL])], id="null"),
        pytest.param(
            [
                WithLockTimeout(
                    [migrations.AddField("order", "toy", models.IntegerField(db_default=1))]
                )
            ],
            id="a default of the database",
        ),
        pytest.param(
            [migrations.RunSQL("SET LOCAL lock_timeout = '200ms'"), ADD_NULL],
            id="a timeout of its own",
        ),
        pytest.param(
            [migrations.AlterField("order", "amount_cents", models.PositiveIntegerField())],
            id="a change of the help text",
        ),
        pytest.param([InstallFunctions("settle", 2)], id="functions"),
    ],
)
def test_a_migration_that_lets_traffic_go_on_is_accepted(operations: list[Operation]) -> None:
    assert problems(*operations) == []
