"""Backups: what is ours in a database into one file and back, and nothing of anybody else."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import IsolationLevel

from operator_prices import store
from operator_prices.errors import ExplainedError
from operator_prices.local import archive, client_programs, dumps, scripts
from operator_prices.local.archive import Entry, Manifest, Opened
from operator_prices.store import contents, grants, migrations, protection
from operator_prices.store.dagster_tables import SCHEMA as DAGSTER
from operator_prices.store.objects import (
    BOOKKEEPING,
    OLD_FUNCTIONS,
    OLD_RELATIONS,
    Ours,
    Relation,
    applied,
    made_by,
    ours,
    read,
)

UNHURRIED = (
    "SELECT set_config('statement_timeout', '0', true),"
    " set_config('idle_in_transaction_session_timeout', '0', true),"
    " set_config('lock_timeout', '1min', true)"
)
"""Programs are waited for within a transaction, whatever limits the role has for other work."""


class BackupError(ExplainedError):
    """A backup that could not be made or restored, said in one sentence with the fix."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    strangers: Sequence[str]
    """Roles whose rights were left out because this server does not have them."""
    tables: int
    """How many tables were compared with the backup, row by row; 0 where it tells nothing."""


def backup(dsn: str, file: Path, *, with_runs: bool = False) -> int:
    """Write what is ours in the database to `file`; return its size in bytes.

    Dagster's history of runs is part of it on demand. All is of one moment, and the file appears
    when it is whole. Raises `BackupError` and `ClientProgramError`.
    """
    file = file.resolve()
    with store.connect(dsn) as connection:
        connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        with connection.transaction():
            connection.execute(UNHURRIED)
            known = contents.present(connection)
            tables = [*known.tables, *(_of_dagster(known) if with_runs else ())]
            if not tables:
                raise BackupError(
                    "The database holds none of our tables, so there is nothing to back up:"
                    " correct DATABASE_URL."
                )
            contents.refuse_hidden(connection, known)
            manifest = Manifest(
                schema=known.schema,
                migrations=applied(connection),
                with_runs=with_runs,
                digests=contents.digests(connection, tables),
                given=contents.given(connection, known),
                relations=[one.name for one in known.relations],
            )
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            functions = contents.definitions(connection, known)
            file.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
                dump, part = Path(folder, archive.DUMP), Path(folder, "part")
                views = [one for one in known.relations if one.kind in "vm"]
                dumps.dump(dsn, connection, str(row[0]) if row else "", [*tables, *views], dump)
                archive.write(part, dump, manifest, functions)
                part.replace(file)
    return file.stat().st_size


def _of_dagster(known: Ours) -> list[Relation]:
    return [one for one in known.dagster_relations if one.is_table]


def restore(dsn: str, file: Path, *, replace: bool = False) -> Restored:
    """Make what is ours in the database what `file` holds, in one transaction.

    Tables of ours that are there are refused unless they are to be replaced; what is not ours is
    never touched. Rights and row-level security are as after a migration, and each table is
    compared with what was backed up. Raises `BackupError`, `ArchiveError`, `ClientProgramError`,
    `ForeignObjectError`, with nothing changed.
    """
    with archive.opened_archive(file) as opened, store.connect(dsn) as connection:
        reader = str(client_programs.newest("pg_restore"))
        entries = _entries(reader, opened, file)
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [migrations.LOCK])
                return _restored(connection, opened, reader, entries, replace=replace)
        except psycopg.Error as error:
            fact = " ".join((error.diag.message_primary or str(error)).split()).rstrip(".")
            raise BackupError(
                f"Restoring {file} failed, and nothing of it was kept: {fact}."
            ) from error


def _restored(
    connection: psycopg.Connection,
    opened: Opened,
    reader: str,
    entries: Sequence[Entry],
    *,
    replace: bool,
) -> Restored:
    connection.execute(UNHURRIED)
    home = connection.execute("SELECT current_schema()").fetchone()
    known = contents.present(connection)
    runs = any(entry.schema == DAGSTER for entry in entries)
    schema = next((one.schema for one in entries if one.schema not in (DAGSTER, "-")), "public")
    _refuse_occupied(connection, known, entries, schema, replace=replace)
    # Before the migrations there was no schema of Dagster's, as after a rollback.
    undone = contents.made_dagster_schema(connection, known) and not _migrated(entries)
    contents.remove(connection, known, dagster=runs or undone)
    if undone:
        contents.drop_dagster_schema(connection)
    elif runs or _migrated(entries):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {DAGSTER}".encode())
    grants.create_roles(connection)
    _run(connection, opened, reader, entries)
    connection.execute(
        "SELECT set_config('search_path', quote_ident(%s), true)", [home[0] if home else "public"]
    )
    strangers: list[str] = []
    now = ours(connection)
    if opened.manifest is not None:
        strangers = contents.give(connection, now, opened.manifest.given)
    protection.settle(connection)
    if opened.manifest is None:
        return Restored(strangers, 0)
    return Restored(strangers, _compare(connection, now, opened.manifest))


def _migrated(entries: Iterable[Entry]) -> bool:
    return any(entry.relation == BOOKKEEPING[0] for entry in entries)


def _compare(connection: psycopg.Connection, now: Ours, manifest: Manifest) -> int:
    """Compare what is stored with what was backed up; return how many tables that were."""
    tables = [*now.tables, *(_of_dagster(now) if manifest.with_runs else ())]
    stored = contents.digests(connection, tables)
    differing = sorted(
        name for name, digest in manifest.digests.items() if stored.get(name) != digest
    )
    if differing:
        raise BackupError(
            f"What was restored differs from what was backed up in {', '.join(differing)}, and"
            " nothing of it was kept: the file is damaged, so take another backup."
        )
    return len(manifest.digests)


def _refuse_occupied(
    connection: psycopg.Connection,
    known: Ours,
    entries: Iterable[Entry],
    schema: str,
    *,
    replace: bool,
) -> None:
    """Refuse to replace unasked, and to put a table where somebody else's of that name is."""
    if known.tables and not replace:
        raise BackupError(
            f"The database holds {len(known.tables)} of our tables already: restore into another"
            " one, or say --replace to have them replaced."
        )
    wanted = {one.relation for one in entries if one.kind in ("TABLE", "VIEW", "MATERIALIZED VIEW")}
    there = connection.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = %s AND relname = ANY (%s) AND NOT pg_class.oid = ANY (%s)"
        " ORDER BY relname",
        [schema, list(wanted), [one.oid for one in known.relations]],
    ).fetchall()
    if there:
        raise BackupError(
            f"The database has {', '.join(name for (name,) in there)}, which is not ours but has"
            " the name of one of our tables: rename it, or restore into another database."
        )


def _entries(reader: str, opened: Opened, file: Path) -> list[Entry]:
    """What of a dump is to be restored: all of ours, and of a whole database what is ours in it."""
    failed = f"The backup {file} cannot be read"
    listed = client_programs.run([reader, "--list", str(opened.dump)], failed).decode()
    found = archive.entries(listed)
    if opened.manifest is not None:
        return found
    names, signatures = set(OLD_RELATIONS), set(OLD_FUNCTIONS)
    if _migrated(found):
        names, signatures = made_by(one.id for one in read())
        names |= set(BOOKKEEPING)
    with _chosen([one for one in found if one.kind == "INDEX"], opened.dump, reader) as command:
        indexes = scripts.indexed(client_programs.run(command, failed).decode())
    mark = BOOKKEEPING[0] if _migrated(found) else OLD_RELATIONS[0]
    homes = [one.schema for one in found if one.kind == "TABLE" and one.relation == mark]
    home = "public" if "public" in homes or not homes else homes[0]
    return [
        one
        for one in found
        if one.schema == DAGSTER
        or (one.schema == home and _is_ours(one, names, signatures, indexes))
    ]


def _is_ours(entry: Entry, names: set[str], signatures: set[str], indexes: dict[str, str]) -> bool:
    if entry.kind == "INDEX":
        return indexes.get(entry.relation) in names
    subject = entry.tag
    if entry.of_comment is not None:
        subject = subject.removeprefix(entry.of_comment).strip()
    if "(" in subject:
        return subject.replace(f"{entry.schema}.", "") in signatures
    if entry.kind.startswith("SEQUENCE"):  # of an identity: named after its table and column
        return any(entry.relation.startswith(f"{name}_") for name in names)
    return entry.relation in names


def _chosen(entries: Sequence[Entry], dump: Path, reader: str) -> AbstractContextManager[list[str]]:
    return scripts.chosen([entry.line for entry in entries], dump, reader)


def _run(
    connection: psycopg.Connection, opened: Opened, reader: str, entries: Sequence[Entry]
) -> None:
    """Tables, then functions, then views and rows: each may need those before it."""

    def run(section: str, part: Sequence[Entry]) -> None:
        with (
            _chosen(part, opened.dump, reader) as command,
            client_programs.running(
                [*command, f"--section={section}"], "The backup cannot be read"
            ) as script,
        ):
            scripts.execute(connection, script)

    if opened.manifest is None:  # functions and all, in the order that they need each other
        run("pre-data", entries)
    else:
        run("pre-data", [one for one in entries if not one.of_a_view])
        for definition in opened.functions:  # never in the place of somebody else's
            connection.execute(definition.replace("CREATE OR REPLACE", "CREATE", 1).encode())
        run("pre-data", [one for one in entries if one.of_a_view])
    run("data", entries)
    run("post-data", entries)


def before_migration(dsn: str, data_dir: Path) -> Path | None:
    """A backup of a database that holds data and lacks migrations; None where neither is so."""
    if not migrations.pending(dsn) or not _holds_epochs(dsn):
        return None
    now = datetime.now(UTC)
    file = data_dir / "backups" / f"{now:%Y%m%dT%H%M%S.%fZ}.backup"
    try:
        backup(dsn, file)
    except (ExplainedError, OSError, psycopg.Error) as error:
        raise BackupError(
            f"The backup before the migrations could not be made ({str(error).rstrip('.')}): mend"
            " that, or run `operator-prices migrate --no-backup`."
        ) from error
    return file


def _holds_epochs(dsn: str) -> bool:
    with store.connect(dsn) as connection:
        there = connection.execute("SELECT to_regclass('epochs') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            return False
        return connection.execute("SELECT FROM epochs LIMIT 1").fetchone() is not None
