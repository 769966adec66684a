"""What code can rely on in a schema, and what of it a migration has taken away."""

from dataclasses import dataclass
from typing import LiteralString

import psycopg

COLUMNS: LiteralString = """
SELECT relname, attname, format_type(atttypid, atttypmod), NOT attnotnull AS nullable,
       atthasdef OR attidentity <> '' AS filled
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
  AND attnum > 0 AND NOT attisdropped
"""

RULES: LiteralString = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
UNION
SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = 'public'::regnamespace AND indisunique
"""

FUNCTIONS: LiteralString = """
SELECT oid::regprocedure::text, pg_get_function_result(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""

BODIES: LiteralString = """
SELECT oid::regprocedure::text, md5(pg_get_functiondef(oid))
FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind <> 'a'
"""

INDEXES: LiteralString = """
SELECT pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = 'public'::regnamespace AND NOT indisunique
"""


@dataclass(frozen=True, slots=True)
class Column:
    type: str
    nullable: bool
    filled: bool
    """Whether a row that does not name it gets a value all the same."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    columns: dict[tuple[str, str], Column]
    rules: frozenset[tuple[str, str]]
    """What rows of a table must fulfil: keys, checks, unique indexes."""
    functions: dict[str, str]
    """What each returns."""
    bodies: dict[str, str]
    """A hash of how each does it, on which no code relies."""
    indexes: frozenset[str]
    """Those that are no rule, on which no code relies either."""

    @property
    def relations(self) -> set[str]:
        return {relation for relation, _ in self.columns}


def catalogue(connection: psycopg.Connection) -> Catalogue:
    columns = connection.execute(COLUMNS).fetchall()
    return Catalogue(
        {(relation, name): Column(*told) for relation, name, *told in columns},
        frozenset((table, rule) for table, rule in connection.execute(RULES).fetchall()),
        dict(connection.execute(FUNCTIONS).fetchall()),
        dict(connection.execute(BODIES).fetchall()),
        frozenset(index for (index,) in connection.execute(INDEXES).fetchall()),
    )


def taken_away(before: Catalogue, after: Catalogue) -> list[str]:
    """Why code that was written for `before` may fail on `after`, a sentence each."""
    return [*_of_columns(before, after), *_of_rules(before, after), *_of_functions(before, after)]


def _of_columns(before: Catalogue, after: Catalogue) -> list[str]:
    found = []
    for (relation, name), old in before.columns.items():
        new = after.columns.get((relation, name))
        if new is None:
            found.append(f"{relation}.{name} is gone")
        elif new.type != old.type:
            found.append(f"{relation}.{name} was {old.type} and is {new.type}")
        elif old.nullable and not new.nullable:
            found.append(f"{relation}.{name} must not be NULL any more")
        elif old.filled and not new.filled:
            found.append(f"{relation}.{name} has no default any more")
    found += [
        f"{relation}.{name} is new, must not be NULL and has no default"
        for (relation, name), new in after.columns.items()
        if (relation, name) not in before.columns and relation in before.relations
        if not (new.nullable or new.filled)
    ]
    return found


def _of_rules(before: Catalogue, after: Catalogue) -> list[str]:
    """A rule fewer is one too few for who upserts by it; one more is one that rows may break."""
    return [f"{table} is without {rule}" for table, rule in sorted(before.rules - after.rules)] + [
        f"{table} has the new rule {rule}"
        for table, rule in sorted(after.rules - before.rules)
        if table in before.relations
    ]


def _of_functions(before: Catalogue, after: Catalogue) -> list[str]:
    return [
        f"{name} returned {result} and {'is gone' if new is None else f'returns {new}'}"
        for name, result in before.functions.items()
        if (new := after.functions.get(name)) != result
    ]
