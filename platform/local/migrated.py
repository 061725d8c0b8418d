"""A PostgreSQL cluster whose tables are made already, kept between runs of the tests.

Making the tables takes longer than most runs of a single file. The cluster is kept under a digest
of everything that migrations may read, so that a change of the product makes a new one.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from local import locks, state
from local.child import environment
from local.errors import LocalError, until
from local.postgres import Postgres

SOURCES = ("accounts", "api", "billing", "platform/config", "platform/portal")
WAIT_SECONDS = 120.0
FOLDER_VARIABLE = "MIGRATED_DIR"


def copy_cluster(folder: Path) -> None:
    """Put a migrated cluster into the folder of a server that has no data yet.

    The kept cluster is in MIGRATED_DIR, by default LOCAL_DIR; made there where there is none of
    today's sources. Raise LocalError where that fails.
    """
    if (folder / "data").exists():
        return
    base = Path(os.environ.get(FOLDER_VARIABLE) or state.local_dir())
    taken: list[int] = []

    def take() -> bool:
        descriptor = locks.take(base / "migrated.lock")
        if descriptor is not None:
            taken.append(descriptor)
        return bool(taken)

    if not until(take, WAIT_SECONDS):
        raise LocalError(f"{base / 'migrated.lock'} is held by another run")
    try:
        _copy(_kept(base), folder)
    finally:
        os.close(taken[0])


def _kept(base: Path) -> Path:
    """Return the kept cluster of today's sources, made if need be; older ones go."""
    kept = base / f"migrated-{_digest()}"
    if kept.exists():
        return kept
    for old in base.glob("migrated-*"):
        shutil.rmtree(old)
    fresh = base / "migrated-new"
    with Postgres(fresh, quick=True, settings={"fsync": "off"}) as postgres:
        own = state.new_secrets() | {"DATABASE_URL": postgres.url, "LOCAL_DIR": str(fresh)}
        command = [sys.executable, str(state.REPO / "manage.py"), "migrate", "-v", "0"]
        result = subprocess.run(
            command, env=environment(own), capture_output=True, text=True, check=False
        )
    if result.returncode != 0:
        raise LocalError(f"the tables could not be made: {result.stderr}")
    fresh.rename(kept)
    return kept


def _copy(kept: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(kept / "data", folder / "data.copy", dirs_exist_ok=True)
    for name in ("made", "mode"):
        shutil.copy2(kept / name, folder / name)
    (folder / "data.copy").rename(folder / "data")


def _digest() -> str:
    """Return a digest of what a migration may read: the product, its libraries, our settings."""
    digest = hashlib.sha256()
    files = [Path(__file__).with_name("postgres.py"), state.REPO / "requirements-dev.txt"]
    for source in SOURCES:
        files += (state.REPO / source).rglob("*.py")
        files += (state.REPO / source).rglob("*.sql")
    for path in sorted(files):
        digest.update(f"{path.relative_to(state.REPO)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
