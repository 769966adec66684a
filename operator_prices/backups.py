"""Backups: the whole database into one file and back, by Postgres's own programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from operator_prices import embedded, migrations
from operator_prices.errors import ExplainedError

DEBIAN = "/usr/lib/postgresql/{}/bin"
"""Where Debian keeps the programs of each version."""

TIMEOUTS = "SET transaction_timeout = 0;"
"""What a newer `pg_restore` says, and a server before 17 does not understand."""

EMPTY = """
DO $$
DECLARE
  commands TEXT[];
  command TEXT;
BEGIN
  -- All of them first: a function that goes with a table has no name afterwards.
  SELECT array_agg(told) INTO commands FROM (
    SELECT format('DROP SCHEMA %I CASCADE', nspname) AS told
      FROM pg_namespace AS schema
      WHERE nspname <> 'public' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = schema.oid AND deptype = 'e')
        AND pg_has_role(nspowner, 'USAGE')
    UNION ALL
    SELECT format('DROP %s IF EXISTS public.%I CASCADE',
                  CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                               WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname)
      FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND NOT EXISTS (  -- of an extension, or a sequence that goes with its column
          SELECT FROM pg_depend
          WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
            AND (deptype = 'e' OR relkind = 'S' AND deptype IN ('a', 'i')))
    UNION ALL
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure::text)
      FROM pg_proc
      WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
  ) AS listed;
  FOREACH command IN ARRAY coalesce(commands, '{}') LOOP
    EXECUTE command;
  END LOOP;
END
$$;
"""
"""Remove what a dump brings: our relations and functions, and every schema but public."""


class BackupError(ExplainedError):
    """A backup that could not be made or restored, said in one sentence with the fix."""


def backup(dsn: str, file: Path) -> int:
    """Write everything in the database to `file`; return its size in bytes.

    The file appears when it is whole. Raises `BackupError`.
    """
    program = _program("pg_dump", _server_version(dsn))
    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    try:
        arguments = ["--format=custom", "--no-password", "--file", str(part), "--dbname", dsn]
        _run([str(program), *arguments], f"The backup to {file} failed")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def restore(dsn: str, file: Path, *, replace: bool = False) -> None:
    """Make the database hold what `file` holds, in one transaction.

    A database that holds anything is refused unless it is to be replaced. Raises `BackupError`.
    """
    if not file.is_file():
        raise BackupError(f"There is no backup {file}: name a file that `backup` wrote.")
    server = _server_version(dsn)
    if not replace and (found := _relations(dsn)):
        raise BackupError(
            f"The database holds {found} tables already: restore into an empty one, or say"
            " --replace to have them replaced."
        )
    reader = _program("pg_restore", server)
    script = _run(
        [str(reader), "--no-owner", "--file=-", str(file)], f"The backup {file} cannot be read"
    )
    if server < 17:  # noqa: PLR2004 - the version that introduced it
        script = script.replace(f"{TIMEOUTS}\n".encode(), b"", 1)
    if "CREATE SCHEMA public;" in script[:100_000].decode(errors="replace"):
        script = script.replace(b"CREATE SCHEMA public;", b"CREATE SCHEMA IF NOT EXISTS public;", 1)
    _run(
        [
            str(_program("psql", server)),
            *("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
            *("--no-password", "--output", os.devnull, "--dbname", dsn),
        ],
        f"Restoring {file} failed, and nothing of it was kept",
        told=EMPTY.encode() + script,
    )


def before_migration(dsn: str, data_dir: Path) -> Path | None:
    """A backup of a database that holds data and lacks migrations; None where neither is so."""
    if not migrations.pending(dsn) or not _holds_epochs(dsn):
        return None
    now = datetime.now(UTC)
    file = data_dir / "backups" / f"{now:%Y%m%dT%H%M%S.%fZ}.dump"
    backup(dsn, file)
    return file


def _holds_epochs(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        there = connection.execute("SELECT to_regclass('epochs') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            return False
        return connection.execute("SELECT FROM epochs LIMIT 1").fetchone() is not None


def _relations(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE relkind IN ('r', 'p', 'm') AND nspname IN ('public', 'dagster')"
        ).fetchone()
    return int(row[0]) if row else 0


def _server_version(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        return connection.info.server_version // 10_000


def _program(name: str, server: int) -> Path:
    """The program of the server's own version if it is installed, else one that is newer."""
    places = [DEBIAN.format(server), os.environ.get("PATH", os.defpath)]
    candidates = [Path(found) for place in places if (found := shutil.which(name, path=place))]
    candidates.append(embedded.binaries() / name)
    versions = {candidate: _version(candidate) for candidate in candidates}
    for candidate, version in versions.items():
        if version == server:
            return candidate
    newer = [candidate for candidate, version in versions.items() if version > server]
    if newer:
        return newer[-1]
    raise BackupError(
        f"The server is Postgres {server} and no {name} here is as new: install the client"
        f" programs of Postgres {server} and put them on PATH."
    )


def _version(program: Path) -> int:
    said = _run([str(program), "--version"], f"{program} does not run").decode()
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found[1]) if found else 0


def _run(command: list[str], failed: str, *, told: bytes = b"") -> bytes:
    done = subprocess.run(  # noqa: S603
        command, input=told, capture_output=True, check=False, env=_environment()
    )
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines
        reason = errors[0].strip() if errors else f"exit code {done.returncode}"
        raise BackupError(f"{failed}: {reason.rstrip('.')}.")
    return done.stdout


def _environment() -> Mapping[str, str]:
    """Passwords and certificates may come from the environment, messages are in English."""
    return os.environ | {"LC_ALL": "C"}
