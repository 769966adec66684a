"""Rights and row-level security as a whole: put as they should be, looked over, and given back."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import psycopg
from psycopg import Connection, sql

from operator_prices.settings import READER
from operator_prices.store import grants, rights, row_security
from operator_prices.store.dagster_tables import SCHEMA as DAGSTER
from operator_prices.store.objects import Ours, applied, ours
from operator_prices.store.rights import COMMENT, EVERYBODY, WRITER, Right, Target

NAMED_AT_MOST = 6
"""As many things are named in one sentence; the rest is counted."""

TABLE_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")

MAINTAINING = 170_000
"""The server version that knows one privilege more."""

OPEN = """
WITH role AS (SELECT unnest(%(roles)s::text[]) AS name)
SELECT role.name, 'class' || relation, privilege
  FROM role, unnest(%(tables)s::oid[]) AS relation, unnest(%(privileges)s::text[]) AS privilege
  WHERE has_table_privilege(role.name, relation, privilege)
    OR CASE WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
            THEN has_any_column_privilege(role.name, relation, privilege) END
UNION ALL
SELECT role.name, 'class' || relation, privilege
  FROM role, unnest(%(sequences)s::oid[]) AS relation,
       unnest('{SELECT, UPDATE, USAGE}'::text[]) AS privilege
  WHERE has_sequence_privilege(role.name, relation, privilege)
UNION ALL
SELECT role.name, 'proc' || function, 'EXECUTE'
  FROM role, unnest(%(functions)s::oid[]) AS function
  WHERE has_function_privilege(role.name, function, 'EXECUTE')
UNION ALL
SELECT role.name, 'namespace', privilege
  FROM role, pg_namespace, unnest('{USAGE, CREATE}'::text[]) AS privilege
  WHERE nspname = %(dagster)s AND has_schema_privilege(role.name, pg_namespace.oid, privilege)
"""


def settle(connection: Connection) -> None:
    """Put rights, row-level security and views as they should be; touches only what is not so.

    Tables are locked one by one: whoever reads several of them at a time must not wait in a circle.
    Raises `psycopg.errors.LockNotAvailable` where a table is held longer than `lock_timeout`.
    """
    known = ours(connection)
    if not applied(connection):
        return
    grants.create_roles(connection)
    with connection.transaction():
        close(connection, known)
        grants.grant(connection, known)
    mine = [one for one in row_security.guarded(connection, known) if _is_mine(connection, one)]
    row_security.protect(connection, mine)
    row_security.views_read_as_invoker(connection, known)


def close_dagster(connection: Connection) -> None:
    """Close Dagster's tables, which Dagster has just made, and give the writer what it needs."""
    with connection.transaction():
        known = ours(connection)
        if applied(connection):
            _remember(connection, known)
            dagsters = replace(known, relations=(), functions=())
            rights.close(connection, dagsters)
            grants.grant(connection, dagsters)


def close(connection: Connection, known: Ours) -> None:
    """Take back what is granted by default, after noting what a rollback has to give back."""
    _remember(connection, known)
    rights.close(connection, known)


def findings(connection: Connection) -> list[str]:
    """What is not as a migration leaves it, each in half a sentence; changes nothing."""
    known = ours(connection)
    if not applied(connection):
        return []
    found = []
    for role, things in sorted(_opened(connection, known).items()):
        found.append(f"{role} has rights that are not meant for it: {_shown(things)}")
    tables = row_security.guarded(connection, known)
    if off := [one.table.name for one in tables if not one.on]:
        found.append(f"row-level security is off on {_shown(off)}")
    hidden: dict[str, list[str]] = defaultdict(list)
    strangers = set(rights.roles_by_default(connection, known))
    strangers -= rights.published_to(connection, known)
    for one in tables:
        for role in one.hidden_from - strangers - {one.table.owner}:
            hidden[role].append(one.table.name)
    for role, names in sorted(hidden.items()):
        found.append(f"no policy shows {role} the rows of {_shown(names)}")
    found += [
        f"the policy {', '.join(one.restricting)}, which is not ours and stays until somebody"
        f" drops it, may hide rows of {one.table.name}"
        for one in tables
        if one.restricting
    ]
    return found


def _shown(things: Sequence[str]) -> str:
    rest = len(things) - NAMED_AT_MOST
    return ", ".join(things[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")


def _opened(connection: Connection, known: Ours) -> dict[str, list[str]]:
    """What roles can do that get rights by default, however they came by it."""
    by_default = rights.roles_by_default(connection, known)
    published = rights.published_to(connection, known)
    targets = rights.targets(known)
    relations = (*known.relations, *known.dagster_relations)
    version = connection.info.server_version
    rows = connection.execute(
        OPEN,
        {
            "roles": ["public" if role == EVERYBODY else role for role in by_default],
            "tables": [one.oid for one in relations if one.kind != "S"],
            "sequences": [one.oid for one in relations if one.kind == "S"],
            "functions": [one.oid for one in (*known.functions, *known.dagster_functions)],
            "privileges": [*TABLE_PRIVILEGES, *(["MAINTAIN"] if version >= MAINTAINING else [])],
            "dagster": DAGSTER,
        },
    ).fetchall()
    everybodys = {(key, privilege) for role, key, privilege in rows if role == "public"}
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for role, key, privilege in rows:
        name = EVERYBODY if role == "public" else role
        allowed = name in published and rights.is_published(targets[key], privilege)
        inherited = name != EVERYBODY and (key, privilege) in everybodys
        if not (allowed or inherited):
            found[name][targets[key].name].append(privilege)
    return {
        role: [f"{name} ({', '.join(privileges)})" for name, privileges in sorted(things.items())]
        for role, things in found.items()
    }


def _is_mine(connection: Connection, one: row_security.Guarded) -> bool:
    row = connection.execute("SELECT pg_has_role(%s, 'USAGE')", [one.table.owner]).fetchone()
    return row is not None and bool(row[0])


# What was there before the migrations has its rights noted, and gets them back by a rollback.


def _there_before(connection: Connection, known: Ours) -> set[str]:
    """The keys of what the migrations did not make, by their table `before_migration`."""
    if all(one.name != "before_migration" for one in known.relations):
        return set()
    told = set(
        connection.execute(
            sql.SQL("SELECT kind, name FROM {} WHERE kind <> 'rights'").format(
                sql.Identifier(known.schema, "before_migration")
            )
        )
    )
    old = {"epochs": ("table", "epochs"), rights.OLD_VIEW: ("view", "comprehensive_analytics")}
    keys = {f"class{one.oid}" for one in known.relations if old.get(one.name) in told}
    keys |= {f"proc{one.oid}" for one in known.functions if ("function", one.name) in told}
    if ("schema", DAGSTER) in told:
        keys |= {"namespace"}
        keys |= {f"class{one.oid}" for one in known.dagster_relations}
        keys |= {f"proc{one.oid}" for one in known.dagster_functions}
    return keys


def _remember(connection: Connection, known: Ours) -> None:
    """Note the rights on what was there before, once, as they are before we change any."""
    targets = rights.targets(known)
    before = {targets[key] for key in _there_before(connection, known)}
    if not before:
        return
    table = sql.Identifier(known.schema, "before_migration")
    noted: dict[Target, list[list[object]]] = {target: [] for target in before}
    for right in rights.held(connection, known):
        if right.target in before and right.grantee != right.target.owner:
            noted[right.target].append(
                [right.grantee, right.privilege, right.grantable, right.column]
            )
    for target, given in noted.items():
        connection.execute(
            sql.SQL("INSERT INTO {} VALUES ('rights', %s, %s) ON CONFLICT DO NOTHING").format(
                table
            ),
            [f"{target.kind} {target.quoted}", json.dumps(given)],
        )


def give_back(connection: Connection) -> None:
    """Take policies and the rights of our roles away; what was there before has its own again."""
    known = ours(connection)
    row_security.unprotect(connection, row_security.guarded(connection, known))
    with connection.transaction():
        targets = rights.targets(known)
        given = rights.held(connection, known)
        for key in _there_before(connection, known):
            _give_back_one(connection, known, targets[key], given)
        for right in given:
            if right.grantee in (READER, WRITER):
                _revoke_all(connection, right.target, right.grantee)
        _forget_writer(connection, known)


def _give_back_one(
    connection: Connection, known: Ours, target: Target, given: Iterable[Right]
) -> None:
    table = sql.Identifier(known.schema, "before_migration")
    row = connection.execute(
        sql.SQL("DELETE FROM {} WHERE kind = 'rights' AND name = %s RETURNING definition").format(
            table
        ),
        [f"{target.kind} {target.quoted}"],
    ).fetchone()
    if row is None:
        return
    for role in {right.grantee for right in given if right.target == target} - {target.owner}:
        _revoke_all(connection, target, role)
    for role, privilege, grantable, column in json.loads(row[0]):
        if role != EVERYBODY and not rights.exists(connection, role):
            continue
        of_column = sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL("")
        connection.execute(
            sql.SQL("GRANT {} ON {} {} TO {}").format(
                sql.SQL(privilege) + of_column,
                sql.SQL(target.kind),
                target.named,
                rights.role_named(role),
            )
            + sql.SQL(" WITH GRANT OPTION" if grantable else "")
        )


def _revoke_all(connection: Connection, target: Target, role: str) -> None:
    connection.execute(
        sql.SQL("REVOKE ALL ON {} {} FROM {} CASCADE").format(
            sql.SQL(target.kind), target.named, rights.role_named(role)
        )
    )


def _forget_writer(connection: Connection, known: Ours) -> None:
    """Drop the writer that we made, unless another database of this server needs it."""
    made = connection.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [WRITER]
    ).fetchone()
    if made is None:
        return
    writer = sql.Identifier(WRITER)
    for kind, name in (("SCHEMA", known.schema), ("DATABASE", connection.info.dbname)):
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(
                sql.SQL("REVOKE ALL ON {} {} FROM {}").format(
                    sql.SQL(kind), sql.Identifier(name), writer
                )
            )
    if made[0] == COMMENT:
        with (
            suppress(
                psycopg.errors.DependentObjectsStillExist,
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.UndefinedObject,
            ),
            connection.transaction(),
        ):
            connection.execute(sql.SQL("DROP ROLE {}").format(writer))
