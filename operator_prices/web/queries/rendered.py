"""Rows of a query as chunks of JSON or of lines of CSV, put together by Postgres."""

from collections.abc import AsyncGenerator, Sequence
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

RENDERED_BY_PARTS = sql.SQL(
    "COPY (SELECT chunk.* FROM ({parts}) AS part CROSS JOIN LATERAL ("
    "SELECT count(*), string_agg({point}, {separator} ORDER BY {order}) FROM ({facts}) AS fact"
    " HAVING count(*) > 0) AS chunk) TO STDOUT (FORMAT binary)"
)
"""Each part is read when the one before it has gone out: none waits for all to be sorted."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows: what selects them, their order, and what of them is told."""

    rows: sql.Composable
    order: sql.Composable
    columns: Sequence[Column]
    parts: sql.Composable | None = None
    """What selects parts of a chunk's size, in their order, of which `rows` are each the rows."""


def column(name: str, kind: str = "text", source: str | None = None) -> Column:
    """A column of that name, read from `source` where that is another."""
    return name, kind, sql.SQL(source or name)


def objects(cursor: Cursor, facts: Facts, served: Served) -> AsyncGenerator[bytes, None]:
    """The rows as a JSON array; amounts are text."""
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
    return as_lines(_chunks(cursor, facts, csv_line(facts.columns), "\n", served))


async def _chunks(
    cursor: Cursor, facts: Facts, point: sql.Composable, separator: str, served: Served
) -> AsyncGenerator[bytes, None]:
    query = RENDERED if facts.parts is None else RENDERED_BY_PARTS
    copy = query.format(
        separator=sql.Literal(separator),
        point=point,
        order=facts.order,
        facts=facts.rows,
        size=sql.Literal(ROWS),
        parts=facts.parts,
    )
    async with aclosing(chunks(cursor, copy, served)) as parts:
        async for chunk in parts:
            yield chunk
