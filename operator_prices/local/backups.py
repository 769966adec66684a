"""Backups: the whole database into one file and back, by Postgres's own programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE
from tempfile import NamedTemporaryFile

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices.errors import ExplainedError
from operator_prices.local.postgres import programs
from operator_prices.settings import READER
from operator_prices.store import migrations

DEBIAN = "/usr/lib/postgresql/{}/bin"
"""Where Debian keeps the programs of each version."""

ROLE = re.compile(r' (?:TO|FROM|FOR ROLE) ("(?:[^"]|"")+"|\w+)')

TIMEOUTS = b"SET transaction_timeout = 0;\n"
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


CREATE_READER = """
DO $$
BEGIN
  IF to_regrole('operator_prices_reader') IS NULL THEN
    CREATE ROLE operator_prices_reader LOGIN;
    COMMENT ON ROLE operator_prices_reader IS 'created by operator-prices';
  END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object THEN
  NULL;  -- then its rights are left out as those of any role that is missing
END
$$
"""
"""What the migrations do to have their role on a server."""


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
        told, secrets = _apart(dsn)
        arguments = ["--format=custom", "--no-password", "--file", str(part), "--dbname", told]
        _run([str(program), *arguments], f"The backup to {file} failed", secrets)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def restore(dsn: str, file: Path, *, replace: bool = False) -> list[str]:
    """Make the database hold what `file` holds, in one transaction.

    A database that holds anything is refused unless it is to be replaced. Roles are no part of a
    backup: ours is made where it is missing, and the rights of others that are missing are left
    out. Returns their names. Raises `BackupError`.
    """
    if not file.is_file():
        raise BackupError(f"There is no backup {file}: name a file that `backup` wrote.")
    server = _server_version(dsn)
    if not replace and (found := _relations(dsn)):
        raise BackupError(
            f"The database holds {found} tables already: restore into an empty one, or say"
            " --replace to have them replaced."
        )
    reader = str(_program("pg_restore", server))
    rights, strangers = _rights(dsn, reader, file)
    psql = [str(_program("psql", server)), "--no-psqlrc", "--quiet", "--single-transaction"]
    psql += ["--set=ON_ERROR_STOP=1", "--no-password", "--output", os.devnull]
    told, secrets = _apart(dsn)
    with (
        subprocess.Popen(  # noqa: S603
            [*psql, "--dbname", told], stdin=PIPE, stderr=PIPE, env=secrets
        ) as writing,
        subprocess.Popen(  # noqa: S603
            [reader, "--no-owner", "--no-privileges", "--file=-", str(file)],
            stdout=PIPE,
            stderr=PIPE,
            env=_environment(),
        ) as reading,
    ):
        if not (writing.stdin and reading.stdout and reading.stderr and writing.stderr):
            raise BackupError(f"Restoring {file} failed: there are no pipes to its programs.")
        try:
            with suppress(BrokenPipeError), writing.stdin as script:
                script.write(EMPTY.encode())
                for line in reading.stdout:
                    script.write(_adapted(line, server))
                if reading.wait():
                    writing.kill()  # which takes its transaction back
                script.write(rights)
        except BaseException:
            writing.kill()
            raise
        finally:
            reading.stdout.close()
        complaints = [writing.stderr.read(), reading.stderr.read()]
    if writing.returncode:
        raise BackupError(
            f"Restoring {file} failed, and nothing of it was kept: {_reason(*complaints)}."
        )
    return strangers


def _adapted(line: bytes, server: int) -> bytes:
    """A line of a dump as this server takes it."""
    if line == TIMEOUTS and server < 17:  # noqa: PLR2004 - the version that introduced it
        return b""
    return line.replace(b"CREATE SCHEMA public;", b"CREATE SCHEMA IF NOT EXISTS public;", 1)


def _rights(dsn: str, reader: str, file: Path) -> tuple[bytes, list[str]]:
    """The statements of a dump that grant rights to roles that are there; and who is not there."""
    listed = _run([reader, "--list", str(file)], f"The backup {file} cannot be read")
    with NamedTemporaryFile() as chosen:
        chosen.writelines(
            line for line in listed.splitlines(keepends=True) if re.search(rb" ACL ", line)
        )
        chosen.flush()
        script = _run(
            [reader, "--no-owner", f"--use-list={chosen.name}", "--file=-", str(file)],
            f"The backup {file} cannot be read",
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        if READER.encode() in script:
            connection.execute(CREATE_READER)
        there = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    kept, strangers = [], set()
    for line in script.decode().splitlines():
        if line.startswith(("GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES ")):
            named = {one.strip('"').replace('""', '"') for one in ROLE.findall(line)}
            missing = named - there - {"PUBLIC"}
            strangers |= missing
            if not missing:
                kept.append(line)
    return "\n".join([*kept, ""]).encode(), sorted(strangers)


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
    candidates.append(programs.binaries() / name)
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


def _run(command: list[str], failed: str, environment: Mapping[str, str] | None = None) -> bytes:
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, check=False, env=environment or _environment()
    )
    if done.returncode:
        raise BackupError(f"{failed}: {_reason(done.stderr)}.")
    return done.stdout


def _reason(*said: bytes) -> str:
    """The first error that a program speaks of, or the first thing it says."""
    text = b"\n".join(said).decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    return errors[0].rstrip(".") if errors else "it does not say why"


def _apart(dsn: str) -> tuple[str, Mapping[str, str]]:
    """How a program is told of a database: all but the password, which everyone could see there."""
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    password = known.pop("password", None)
    secrets = {} if password is None else {"PGPASSWORD": password}
    return make_conninfo("", **known), _environment() | secrets


def _environment() -> dict[str, str]:
    """Passwords and certificates may come from the environment, messages are in English."""
    return os.environ | {"LC_ALL": "C"}
