"""Rows of a query as chunks of JSON or of lines of CSV, put together there or part by part here."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from psycopg import sql
from pydantic.alias_generators import to_camel

from operator_prices.web.database import Cursor
from operator_prices.web.queries.spans import (
    CHUNK,
    Column,
    Served,
    as_array,
    as_lines,
    chunks,
    csv_line,
)

ROW_BYTES = 500
"""What a row takes as JSON, about."""

ROWS = CHUNK // ROW_BYTES
"""How many rows come at a time."""

RENDERED = sql.SQL(
    "COPY (SELECT count(*), string_agg(point, {separator} ORDER BY turn) FROM"
    " (SELECT {point} AS point, turn FROM (SELECT fact.*, row_number() OVER (ORDER BY {order})"
    " AS turn FROM ({facts}) AS fact) AS fact) AS points"
    " GROUP BY turn / {size} ORDER BY turn / {size}) TO STDOUT (FORMAT binary)"
)

BY_PARTS = sql.SQL(
    "COPY (SELECT chunk.* FROM ({parts}) AS part CROSS JOIN LATERAL (SELECT {columns}"
    " FROM ({facts}) AS fact HAVING count(*) > 0) AS chunk) TO STDOUT (FORMAT binary)"
)
"""A text for each column of a part, nothing where a value is unknown.

A part is written here while Postgres reads the next one: none waits for all to be sorted.
"""

COLUMN = sql.SQL("string_agg(coalesce({}::text, ''), ' ' ORDER BY {})")


Row = tuple[str, ...]
"""A text for each column, nothing where a value is unknown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows: what selects them, their order, and what of them is told."""

    rows: sql.Composable
    order: sql.Composable
    columns: Sequence[Column]
    parts: sql.Composable | None = None
    """What selects parts of a chunk's size, in their order, of which `rows` are each the rows.

    Then no value has a space in it.
    """


def column(name: str, kind: str = "text", source: str | None = None) -> Column:
    """A column of that name, read from `source` where that is another."""
    return name, kind, sql.SQL(source or name)


def objects(cursor: Cursor, facts: Facts, served: Served) -> AsyncGenerator[bytes, None]:
    """The rows as a JSON array; amounts are text."""
    if facts.parts is not None:
        return as_array(_by_parts(cursor, facts, _object(facts.columns), ",", served))
    fields: list[sql.Composable] = []
    for name, kind, source in facts.columns:
        shape = "coalesce({}::text, 'null')" if kind == "integer" else JSON_TEXT
        fields += [sql.Literal(f'{"," if fields else "{"}"{to_camel(name)}":')]
        fields += [sql.SQL(shape).format(source)]
    point = sql.SQL("concat({}, '}}')").format(sql.SQL(", ").join(fields))
    return as_array(_chunks(cursor, facts, point, ",", served))


JSON_TEXT = "coalesce('\"' || {} || '\"', 'null')"
"""Of what needs no escape: digits, addresses, hex."""


def lines(cursor: Cursor, facts: Facts, served: Served) -> AsyncGenerator[bytes, None]:
    """The same as lines of CSV, without the names of the columns."""
    if facts.parts is not None:
        return as_lines(_by_parts(cursor, facts, ",".join, "\n", served))
    return as_lines(_chunks(cursor, facts, csv_line(facts.columns), "\n", served))


def _object(columns: Sequence[Column]) -> Callable[[Row], str]:
    """What writes a row as an object of JSON."""
    kinds = [kind for _, kind, _ in columns]
    names = [f'"{to_camel(name)}":' for name, *_ in columns]
    quoted = ['"%s"' if kind == "text" else "%s" for kind in kinds]
    known = "{" + ",".join(map("".join, zip(names, quoted, strict=True))) + "}"
    gapped = "{" + ",".join(f"{name}%s" for name in names) + "}"

    def write(row: Row) -> str:
        if "" not in row:
            return known % row
        values = zip(quoted, row, strict=True)
        return gapped % tuple(shape % value if value else "null" for shape, value in values)

    return write


async def _by_parts(
    cursor: Cursor, facts: Facts, write: Callable[[Row], str], separator: str, served: Served
) -> AsyncGenerator[bytes, None]:
    columns = [COLUMN.format(source, facts.order) for _, _, source in facts.columns]
    copy = BY_PARTS.format(parts=facts.parts, columns=sql.SQL(", ").join(columns), facts=facts.rows)
    async with cursor.copy(copy) as parts:
        parts.set_types(["text"] * len(columns))
        async for part in parts.rows():
            values = zip(*(column.split(" ") for column in part), strict=True)
            rows = list(map(write, values))
            served.rows += len(rows)
            yield separator.join(rows).encode()
            await asyncio.sleep(0)  # what has come already is no reason to keep others waiting


async def _chunks(
    cursor: Cursor, facts: Facts, point: sql.Composable, separator: str, served: Served
) -> AsyncGenerator[bytes, None]:
    copy = RENDERED.format(
        separator=sql.Literal(separator),
        point=point,
        order=facts.order,
        facts=facts.rows,
        size=sql.Literal(ROWS),
    )
    async with aclosing(chunks(cursor, copy, served)) as parts:
        async for chunk in parts:
            yield chunk
