"""The house's rules that no linter knows (platform/docs/architecture.md says why)."""

import ast
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
    """Returns the files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).exists()]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def sources() -> list[Path]:
    return [path for path in tracked("*.py") if "migrations" not in path.parts]


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


def test_files_stay_short() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in sources()
        if len(path.read_text().splitlines()) > MAX_FILE_LINES
    ]
    assert long == []


@pytest.mark.parametrize("package", ["accounts", "api", "billing", "platform/config"])
def test_public_functions_and_classes_say_what_they_do(package: str) -> None:
    silent = []
    for path in sources():
        if not path.is_relative_to(ROOT / package):
            continue
        for node in ast.parse(path.read_text()).body:
            public = getattr(node, "name", "_")
            if not public.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}: {public}")
    assert silent == []


def test_requirements_name_no_host_and_pin_by_hash() -> None:
    for path in tracked("requirements*.txt"):
        text = path.read_text()
        assert "://" not in text, path
        assert "--index-url" not in text, path
        for line in re.findall(r"^[a-z0-9].*==.*$", text, re.M | re.I):
            assert line.endswith("\\"), f"{path.name}: {line} has no hash"


def test_only_the_ledgers_functions_write_its_tables() -> None:
    writes = re.compile(
        r"(INSERT INTO|UPDATE|DELETE FROM)\s+billing_"
        r"(creditaccount|creditlot|transfer|reservation|usagerecord|keyspend|ratewindow)"
    )
    guilty = [
        str(path.relative_to(ROOT))
        for path in sources()
        if "tests" not in path.parts and writes.search(path.read_text())
    ]
    assert guilty == []
