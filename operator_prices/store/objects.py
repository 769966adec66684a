"""What is ours in a database: the objects that the migrations which it has seen have made."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from glob import escape
from pathlib import Path

from psycopg import Connection, sql
from psycopg.rows import class_row
from yoyo.migrations import MigrationList, read_migrations

from operator_prices.errors import ExplainedError
from operator_prices.settings import PROJECT
from operator_prices.store.dagster_tables import SCHEMA as DAGSTER

SQL = PROJECT / "sql"
QUERIES = {"05_verify_migration"}
"""Numbered files that are no migrations."""

BOOKKEEPING = ("_yoyo_migration", "_yoyo_log", "_yoyo_version", "yoyo_lock")
"""The tables of the list of migrations."""

OLD_RELATIONS = ("epochs", "comprehensive_analytics")
OLD_FUNCTIONS = ("parse_comma_number(text)", "hex_to_numeric(text)")
"""What the old system made and the migrations take over."""

COMMENT = re.compile(r"--.*")
RELATION = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:TABLE|MATERIALIZED\s+VIEW|VIEW|SEQUENCE)\s+"
    r"(?:IF\s+NOT\s+EXISTS\s+)?(\w+)",
    re.IGNORECASE,
)
RENAMED_RELATION = re.compile(
    r"\bALTER\s+(?:TABLE|VIEW)\s+\w+\s+RENAME\s+TO\s+(\w+)", re.IGNORECASE
)
FUNCTION = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+(\w+)\s*\(([^)]*)\)", re.IGNORECASE
)
RENAMED_FUNCTION = re.compile(
    r"\bALTER\s+FUNCTION\s+\w+\s*\(([^)]*)\)\s+RENAME\s+TO\s+(\w+)", re.IGNORECASE
)


class NoMigrationsError(ExplainedError):
    """An installation without the files of `sql/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    oid: int
    schema: str
    name: str
    kind: str
    """As `pg_class.relkind` has it: r and p are tables, v and m views, S sequences."""
    owner: str

    @property
    def is_table(self) -> bool:
        return self.kind in "rp"

    @property
    def named(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    oid: int
    name: str
    signature: str
    """Quoted as it is written in a statement, with its schema."""
    owner: str
    volatile: bool
    is_trigger: bool


@dataclass(frozen=True, slots=True)
class Ours:
    """Our own relations and functions, and Dagster's."""

    schema: str
    relations: tuple[Relation, ...]
    functions: tuple[Function, ...]
    dagster_relations: tuple[Relation, ...]
    dagster_functions: tuple[Function, ...]
    dagster_owner: str | None
    """None where there is no such schema."""

    @property
    def tables(self) -> tuple[Relation, ...]:
        return tuple(one for one in self.relations if one.is_table)


def read() -> MigrationList:
    """All migrations in their order. Raises `NoMigrationsError`."""
    found = read_migrations(escape(str(SQL))).filter(lambda one: one.id not in QUERIES)
    if not found:
        raise NoMigrationsError(
            f"There is no migration in {SQL}, so nothing can be said of the schema: install the"
            " project again, with its folder sql."
        )
    return found


def made_by(migrations: Iterable[str]) -> tuple[set[str], set[str]]:
    """The names of the relations and the signatures of the functions that these have made."""
    relations: set[str] = set()
    functions: set[str] = set()
    for name in migrations:
        more_relations, more_functions = _made_in(SQL / f"{name}.sql")
        relations |= more_relations
        functions |= more_functions
    return relations, functions


@cache
def _made_in(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    text = COMMENT.sub("", file.read_text(encoding="utf-8")) if file.exists() else ""
    relations = set(RELATION.findall(text)) | set(RENAMED_RELATION.findall(text))
    functions = {_signature(name, arguments) for name, arguments in FUNCTION.findall(text)}
    functions |= {_signature(name, types) for types, name in RENAMED_FUNCTION.findall(text)}
    return frozenset(relations), frozenset(functions)


def _signature(name: str, arguments: str) -> str:
    """The last word of each argument is its type, whether it is named or not."""
    types = [argument.split()[-1].lower() for argument in arguments.split(",") if argument.strip()]
    return f"{name}({', '.join(types)})"


HOME = """
SELECT nspname FROM pg_namespace WHERE oid = coalesce(
  (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('_yoyo_migration')),
  (SELECT oid FROM pg_namespace WHERE nspname = current_schema()))
"""

RELATIONS = """
WITH ours AS (
  SELECT pg_class.oid FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
  WHERE nspname = %(schema)s AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND (%(names)s::text[] IS NULL OR relname = ANY (%(names)s)))
SELECT pg_class.oid::bigint AS oid, nspname AS schema, relname AS name, relkind::text AS kind,
       pg_get_userbyid(relowner) AS owner
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid IN (SELECT oid FROM ours)
   OR relkind = 'S' AND EXISTS (
     SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
       AND refclassid = 'pg_class'::regclass AND refobjid IN (SELECT oid FROM ours)
       AND deptype IN ('a', 'i'))
ORDER BY relname
"""

FUNCTIONS = """
SELECT pg_proc.oid::bigint AS oid, proname AS name,
       format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(pg_proc.oid))
         AS signature,
       pg_get_userbyid(proowner) AS owner, provolatile = 'v' AS volatile,
       prorettype = 'trigger'::regtype AS is_trigger
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = %(schema)s AND (%(signatures)s::text[] IS NULL OR pg_proc.oid IN (
  SELECT to_regprocedure(format('%%I.', %(schema)s) || one) FROM unnest(%(signatures)s) AS one))
ORDER BY proname
"""


def ours(connection: Connection, migrations: Iterable[str] | None = None) -> Ours:
    """What of this database is ours: of the named migrations, or of all that it has seen.

    Where it has seen none, that is what the old system left, which migrations would take over.
    """
    home = connection.execute(HOME).fetchone()
    schema = str(home[0]) if home else "public"
    seen = list(applied(connection) if migrations is None else migrations)
    names, signatures = made_by(seen)
    if seen:
        names |= set(BOOKKEEPING)
    else:
        names, signatures = set(OLD_RELATIONS), set(OLD_FUNCTIONS)
    owner = connection.execute(
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", [DAGSTER]
    ).fetchone()
    return Ours(
        schema,
        tuple(_relations(connection, schema, names)),
        tuple(_functions(connection, schema, signatures)),
        tuple(_relations(connection, DAGSTER, None)),
        tuple(_functions(connection, DAGSTER, None)),
        owner[0] if owner else None,
    )


def applied(connection: Connection) -> list[str]:
    """The migrations that the database has seen."""
    there = connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone()
    if there is None or there[0] is None:
        return []
    rows = connection.execute("SELECT migration_id FROM _yoyo_migration ORDER BY migration_id")
    return [name for (name,) in rows]


def _relations(connection: Connection, schema: str, names: set[str] | None) -> Iterator[Relation]:
    with connection.cursor(row_factory=class_row(Relation)) as cursor:
        told = {"schema": schema, "names": None if names is None else list(names)}
        yield from cursor.execute(RELATIONS, told).fetchall()


def _functions(connection: Connection, schema: str, known: set[str] | None) -> Iterator[Function]:
    with connection.cursor(row_factory=class_row(Function)) as cursor:
        told = {"schema": schema, "signatures": None if known is None else list(known)}
        yield from cursor.execute(FUNCTIONS, told).fetchall()
