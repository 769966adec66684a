"""What the owner grants: the writer and the reader what they need, and others what goes with it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress

import psycopg
from psycopg import Connection, sql

from operator_prices.settings import READER
from operator_prices.store.objects import BOOKKEEPING, Ours, Relation
from operator_prices.store.rights import (
    COMMENT,
    EVERYBODY,
    OLD_VIEW,
    PUBLISHED,
    READABLE,
    WRITER,
    Right,
    Target,
    changeable_owners,
    exists,
    held,
    listed_privileges,
    published_to,
    role_named,
    targets,
)

KEPT = (
    *BOOKKEEPING,
    *("before_migration", "published_to", "epochs_original", "data_version", "data_changes"),
)
"""What the writer only reads: it changes by migrations, by the owner, or by triggers."""

WRITING = ("SELECT", "INSERT", "UPDATE", "DELETE")

CREATE_ROLE = sql.SQL("CREATE ROLE {} LOGIN")
COMMENT_ROLE = sql.SQL("COMMENT ON ROLE {} IS {}")

LET_IN = """
SELECT has_database_privilege(%(role)s, current_database(), 'CONNECT'),
       has_database_privilege(%(role)s, current_database(), 'TEMPORARY'),
       has_schema_privilege(%(role)s, %(schema)s, 'USAGE'), current_database()
"""

BENEATH = """
WITH RECURSIVE beneath (view, relation) AS (
  SELECT ev_class, refobjid FROM pg_rewrite JOIN pg_depend
    ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
    AND refclassid = 'pg_class'::regclass AND refobjid <> ev_class
  WHERE ev_class = ANY (%(views)s)
  UNION
  SELECT view, refobjid FROM beneath JOIN pg_rewrite ON ev_class = relation JOIN pg_depend
    ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
    AND refclassid = 'pg_class'::regclass AND refobjid <> ev_class)
SELECT view::bigint, relation::bigint FROM beneath
"""
"""What the views read, through each other down to the tables."""


def create_roles(connection: Connection) -> None:
    """Create the writer and the reader where they are missing and we may.

    Roles belong to the whole server: another database of it may make them at the same moment.
    """
    for role in (READER, WRITER):
        if exists(connection, role):
            continue
        with (
            suppress(
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.DuplicateObject,
                psycopg.errors.UniqueViolation,
            ),
            connection.transaction(),
        ):
            connection.execute(CREATE_ROLE.format(sql.Identifier(role)))
            connection.execute(COMMENT_ROLE.format(sql.Identifier(role), COMMENT))


def grant(connection: Connection, ours: Ours) -> None:
    """Give the writer, the reader and those we publish to what they lack."""
    mine = changeable_owners(connection, ours)
    have = {
        (right.target.kind, right.target.name, right.grantee, right.privilege)
        for right in held(connection, ours)
        if right.column is None
    }
    lacking: dict[tuple[Target, str], list[str]] = defaultdict(list)
    for target, role, privilege in wanted(connection, ours):
        granted = (target.kind, target.name, role, privilege) in have
        if target.owner in mine and role != target.owner and not granted:
            lacking[target, role].append(privilege)
    for (target, role), privileges in lacking.items():
        connection.execute(
            sql.SQL("GRANT {} ON {} {} TO {}").format(
                listed_privileges(privileges, None),
                sql.SQL(target.kind),
                target.named,
                role_named(role),
            )
        )
    for role in sorted({role for _, role, _ in wanted(connection, ours)}):
        _let_in(connection, ours, role)


def _let_in(connection: Connection, ours: Ours, role: str) -> None:
    """See to it that a role may connect and use the schema, where that is not everybody's right."""
    name = "public" if role == EVERYBODY else role
    row = connection.execute(LET_IN, {"role": name, "schema": ours.schema}).fetchone()
    connects, temporary, uses, database = row or (True, True, True, "")
    lacking = [
        ("CONNECT", "DATABASE", database, connects),
        ("TEMPORARY", "DATABASE", database, temporary or role != WRITER),
        ("USAGE", "SCHEMA", ours.schema, uses),
    ]
    for privilege, kind, named, has in lacking:
        if not has:
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(
                    sql.SQL("GRANT {} ON {} {} TO {}").format(
                        sql.SQL(privilege), sql.SQL(kind), sql.Identifier(named), role_named(role)
                    )
                )


def wanted(connection: Connection, ours: Ours) -> Iterator[tuple[Target, str, str]]:
    """Whom each of our things should be open to, and for what."""
    known = targets(ours)
    readers = {READER} if exists(connection, READER) else set()
    writers = {WRITER} if exists(connection, WRITER) else set()
    published = published_to(connection, ours)
    for one in ours.relations:
        yield from _wanted_of(known[f"class{one.oid}"], one, readers, writers, published)
    for one in ours.dagster_relations:
        target = known[f"class{one.oid}"]
        privileges = ("USAGE", "SELECT", "UPDATE") if one.kind == "S" else WRITING
        yield from ((target, role, privilege) for role in writers for privilege in privileges)
    if "namespace" in known:
        yield from ((known["namespace"], role, "USAGE") for role in writers)
    rights = held(connection, ours)
    guests = _guests(rights) - published  # no published table calls a function
    yield from _wanted_beneath(connection, ours, rights)
    for function in ours.functions:
        may = set() if function.is_trigger else writers
        if not (function.is_trigger or function.volatile):
            may = writers | readers | guests
        yield from ((known[f"proc{function.oid}"], role, "EXECUTE") for role in may)


def _wanted_of(
    target: Target, one: Relation, readers: set[str], writers: set[str], published: set[str]
) -> Iterator[tuple[Target, str, str]]:
    if one.kind == "S":
        yield from ((target, role, right) for role in writers for right in ("USAGE", "SELECT"))
        return
    may_write = one.is_table and one.name not in KEPT
    for role in writers:
        for privilege in WRITING if may_write else ("SELECT",):
            yield target, role, privilege
    if one.name in READABLE:
        yield from ((target, role, "SELECT") for role in readers)
    if one.name in PUBLISHED:
        yield from ((target, role, "SELECT") for role in published)


def _guests(rights: Iterable[Right]) -> set[str]:
    """Whom somebody has granted rights on our tables by name: our functions are for them, too."""
    return {
        right.grantee
        for right in rights
        if right.target.kind == "TABLE"
        and right.grantee not in (EVERYBODY, READER, WRITER, right.target.owner)
    }


def _wanted_beneath(
    connection: Connection, ours: Ours, rights: Iterable[Right]
) -> Iterator[tuple[Target, str, str]]:
    """Our views read with the rights of whoever asks: who may read one may read what it reads."""
    known = targets(ours)
    views = [one.oid for one in ours.relations if one.kind == "v" and one.name != OLD_VIEW]
    readers: dict[Target, set[str]] = defaultdict(set)
    for right in rights:
        if right.privilege == "SELECT" and right.grantee not in (EVERYBODY, right.target.owner):
            readers[right.target].add(right.grantee)
    for view, relation in connection.execute(BENEATH, {"views": views}).fetchall():
        if target := known.get(f"class{relation}"):
            for role in readers[known[f"class{view}"]]:
                yield target, role, "SELECT"
