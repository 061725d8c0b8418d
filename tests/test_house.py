"""The house's rules that no linter knows (platform/docs/architecture.md says why)."""

import ast
import functools
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 400


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).exists()]


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@functools.cache
def sources() -> tuple[Path, ...]:
    found = tuple(path for path in tracked("*.py") if "migrations" not in path.parts)
    assert len(found) > 100, "no sources to look at"
    return found


@functools.cache
def migrations() -> tuple[Path, ...]:
    found = tuple(path for path in tracked("*.py") if path.parent.name == "migrations")
    assert len(found) > 20, "no migrations to look at"
    return found


def test_platform_stays_a_plain_folder() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not list((ROOT / "platform").glob("*.py"))
    assert Path(platform.__file__).is_relative_to(sys.base_prefix)


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in functions(path)
        if node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_sql_functions_fit_on_a_screen_or_are_divided_by_numbered_headings() -> None:
    """Those that are current; a heading is a comment like `-- 1. Lock the accounts.`"""
    long, seen = [], 0
    for path in (ROOT / "billing" / "ledger" / "sql").glob("*.sql"):
        for text in re.findall(
            r"^CREATE OR REPLACE FUNCTION.*?^\$\$;", path.read_text(), re.M | re.S
        ):
            seen += 1
            parts = re.split(r"^ +-- \d+\w?\. ", text, flags=re.M)
            if max(part.count("\n") for part in parts) > MAX_FUNCTION_LINES:
                long.append(f"{path.name}: {text.split('(')[0]}")
    assert seen > 20, "no functions to look at"
    assert long == []


def test_files_stay_short() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in sources()
        if len(text_of(path).splitlines()) > MAX_FILE_LINES
    ]
    assert long == []


@pytest.mark.parametrize("package", ["accounts", "api", "billing", "platform/config"])
def test_public_functions_and_classes_say_what_they_do(package: str) -> None:
    silent = []
    for path in sources():
        if not path.is_relative_to(ROOT / package):
            continue
        for node in tree_of(path).body:
            public = getattr(node, "name", "_")
            if not public.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}: {public}")
    assert silent == []


def test_requirements_name_no_host_and_pin_by_hash() -> None:
    files = tracked("requirements*.txt")
    assert len(files) == 3
    for path in files:
        text = path.read_text()
        assert "://" not in text, path
        assert "--index-url" not in text, path
        pins = re.findall(r"^[a-z0-9].*==.*$", text, re.M | re.I)
        assert pins, path
        for line in pins:
            assert line.endswith("\\"), f"{path.name}: {line} has no hash"


LEDGER_MODELS = {
    "BudgetRule",
    "BudgetSpend",
    "BudgetWarning",
    "CreditAccount",
    "CreditLot",
    "FreeWindow",
    "KeySpend",
    "LotMovement",
    "ProcessLease",
    "RateWindow",
    "Reservation",
    "Transfer",
    "UsageRecord",
}
LEDGER_RELATIONS = {
    "budget_rules",
    "budget_spends",
    "credit_account",
    "credits",
    "debits",
    "lot_movements",
    "lots",
    "movements",
    "reservations",
    "shortfalls",
    "spend",
    "transfers",
    "usage_records",
}
# Migrations that fill tables which no customer had used yet, or correct rows once.
MIGRATION_WRITES = {
    "billing/migrations/0002_ledger.py": ["INSERT INTO billing_creditaccount"],
    "billing/migrations/0006_credit_lots.py": ["INSERT INTO billing_creditlot"],
    "billing/migrations/0016_shortfall_owners.py": ["UPDATE billing_transfer"],
}
SQL_WRITE = re.compile(
    r"\b(insert\s+into|update|delete\s+from|truncate|merge\s+into|copy)\s+(only\s+|table\s+)?\"?"
    rf"billing_({'|'.join(LEDGER_MODELS)})\b",
    re.I,
)
ORM_WRITES = {
    *("create", "get_or_create", "update_or_create", "bulk_create", "bulk_update"),
    *("update", "delete", "save", "save_base"),
}
ORM_WRITES |= {f"a{name}" for name in ORM_WRITES}


def ledger_writes(source: str) -> list[str]:
    """Return what of a module writes the ledger's tables, by SQL or by the ORM."""
    tree = ast.parse(source)
    found = [match.group() for match in SQL_WRITE.finditer(source)]
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            rows = LEDGER_MODELS | ledger_rows(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    names = set(chain_of(node.func.value))
                    if node.func.attr in ORM_WRITES and names & (rows | LEDGER_RELATIONS):
                        found.append(ast.unparse(node))
    return sorted(set(found))


def ledger_rows(scope: ast.AST) -> set[str]:
    """Return the names in a scope that stand for rows of the ledger: annotated, or got from one."""
    rows: set[str] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            annotated = {
                name.id for name in ast.walk(node.annotation) if isinstance(name, ast.Name)
            }
            if annotated & LEDGER_MODELS and "dict" not in annotated:
                target = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
                rows.add(target)
        targets, value = [], None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.For | ast.comprehension):
            targets, value = [node.target], node.iter
        elif isinstance(node, ast.NamedExpr):
            targets, value = [node.target], node.value
        if value is not None and LEDGER_MODELS & set(chain_of(value)):
            rows |= {target.id for target in targets if isinstance(target, ast.Name)}
    return rows


def chain_of(node: ast.AST) -> Iterator[str]:
    """Yield the names of a chain of attributes and calls: `a` and `b` and `c` of `a.b(1).c`.

    So is the model that a migration asks for by name, `apps.get_model("billing", "Transfer")`.
    """
    while True:
        if isinstance(node, ast.Attribute):
            yield node.attr
            node = node.value
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "get_model":
                yield from models_named_in(node)
            node = node.func
        elif isinstance(node, ast.Subscript | ast.Await):
            node = node.value
        else:
            break
    if isinstance(node, ast.Name):
        yield node.id


def models_named_in(call: ast.Call) -> Iterator[str]:
    """Yield the ledger's models among the texts in a call, whose names know no case."""
    models = {name.lower(): name for name in LEDGER_MODELS}
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.rpartition(".")[2].lower()
            if name in models:
                yield models[name]


def test_only_the_ledgers_functions_write_its_tables() -> None:
    product = [path for path in (*sources(), *migrations()) if "tests" not in path.parts]
    guilty = {
        str(path.relative_to(ROOT)): writes
        for path in product
        if (writes := ledger_writes(text_of(path)))
    }
    assert guilty == MIGRATION_WRITES


@pytest.mark.parametrize(
    "source",
    [
        "cursor.execute('update billing_transfer set memo = %s')",
        "cursor.execute('INSERT INTO billing_CreditLot VALUES (1)')",
        "cursor.execute('delete\\n  from only billing_reservation')".replace("\\n", " "),
        "Transfer.objects.create(kind='grant')",
        "models.Transfer.objects.filter(pk=1).update(memo='')",
        "CreditAccount(kind='customer').save()",
        "def f(account: CreditAccount | None): account.save(update_fields=['posted_nanos'])",
        "def f(pk):\n    row = Reservation.objects.get(pk=pk)\n    row.delete()",
        "for lot in CreditLot.objects.all():\n    lot.save()",
        "team.credit_account.transfers.all().delete()",
        "async def f(): await UsageRecord.objects.aupdate(cost_nanos=0)",
        "KeySpend.objects.bulk_update(rows, ['day'])",
        "apps.get_model('billing', 'Transfer').objects.update(memo='')",
        "apps.get_model('billing.transfer').objects.all().delete()",
        "def f(apps):\n    row = apps.get_model('billing', 'KeySpend')\n    row.objects.create()",
        "schema_editor.execute('UPDATE billing_transfer SET memo = 1')",
    ],
)
def test_a_write_of_the_ledgers_tables_is_found(source: str) -> None:
    assert len(ledger_writes(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "cursor.execute('SELECT * FROM billing_transfer FOR UPDATE')",
        "LedgerAlert.objects.create(kind='x')",
        "def f(account: CreditAccount): facts.update(balance=account.posted_nanos)",
        "def f(order: Order): order.save()",
        "apps.get_model('billing', 'Order').objects.update(state='paid')",
        "apps.get_model('billing', 'Transfer').objects.count()",
    ],
)
def test_what_only_reads_the_ledgers_tables_is_let_be(source: str) -> None:
    assert ledger_writes(source) == []


def test_the_top_level_holds_only_what_belongs_there() -> None:
    """Programs that tests run must not leave their own files in the repository."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    hidden = {path.split("/")[0] for path in tracked if path.startswith(".")}
    assert hidden <= {".ci", ".dockerignore", ".env.example", ".gitignore"}
