"""Share prices: a point for each operator at each epoch, as JSON or as lines of CSV."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from psycopg import sql

from operator_prices.web.database import Cursor
from operator_prices.web.queries.spans import (
    CHUNK,
    Column,
    Served,
    Span,
    as_array,
    as_lines,
    chosen,
    chunks,
    csv_line,
)

POINT_BYTES = 220
"""What a row of share prices takes as JSON, about."""

ENDS = sql.SQL(
    "SELECT min(epoch), max(epoch), (SELECT greatest(count(*), 1) FROM operators_metadata)"
    " FROM epoch_documents WHERE epoch BETWEEN {first} AND {last}"
)
POINTS = sql.SQL(
    "COPY (SELECT rows, chunk FROM generate_series({first}::bigint, {last}::bigint, {size}::bigint)"
    " AS start CROSS JOIN LATERAL (SELECT count(*) AS rows, string_agg(point, {separator}) AS chunk"
    " FROM ({points} ORDER BY epoch, operator_id) AS points)"
    " AS chunks WHERE rows > 0) TO STDOUT (FORMAT binary)"
)
READY_POINTS = sql.SQL(
    "SELECT point FROM operator_points WHERE epoch BETWEEN {start} AND {end} AND {chosen}"
)
LINES = sql.SQL("SELECT {line} AS point FROM {facts} AS fact")
FACTS = sql.SQL(
    "(SELECT epoch, operator_id, share_price_perq, stake_raw, shares_raw, reward_raw,"
    " nomination_tax, status, price.source, timestamp,"
    " stake_per_share(shares_raw, stake_raw, reward_raw, nomination_tax) AS stake_per_share"
    " FROM (SELECT epoch, operator_id, stake_raw, shares_raw, reward_raw, nomination_tax, status"
    " FROM operator_shares WHERE epoch BETWEEN {start} AND {end} AND {chosen}) AS share"
    " FULL JOIN (SELECT epoch, operator_id, share_price_perq, source FROM operator_share_prices"
    " WHERE epoch BETWEEN {start} AND {end} AND {chosen}) AS price USING (epoch, operator_id)"
    " LEFT JOIN (SELECT epoch, timestamp FROM epoch_documents"
    " WHERE epoch BETWEEN {start} AND {end}) AS document USING (epoch))"
)
"""Every operator at every epoch, priced or not: its end block, and the price at its close."""

COLUMNS: tuple[Column, ...] = (
    ("epoch", "integer", sql.SQL("epoch")),
    ("operator_id", "integer", sql.SQL("operator_id")),
    ("timestamp", "integer", sql.SQL("timestamp")),
    ("share_price_perq", "integer", sql.SQL("share_price_perq")),
    ("stake_per_share", "text", sql.SQL("stake_per_share")),
    ("stake", "text", sql.SQL("stake_raw")),
    ("shares", "text", sql.SQL("shares_raw")),
    ("reward", "text", sql.SQL("reward_raw")),
    ("nomination_tax", "integer", sql.SQL("nomination_tax")),
    ("status", "text", sql.SQL("status")),
    ("source", "text", sql.SQL("fact.source")),
)
"""A price fits 64 bits; amounts of 128 bits are decimal text, which every reader takes exactly."""

AI3_COLUMNS: tuple[Column, ...] = (
    ("stake_per_share_ai3", "text", sql.SQL("trim_scale(stake_per_share * 1e-18)")),
    ("stake_ai3", "text", sql.SQL("trim_scale(stake_raw * 1e-18)")),
    ("reward_ai3", "text", sql.SQL("trim_scale(reward_raw * 1e-18)")),
)
"""Multiplied, since a division of numerics rounds."""


async def ends(cursor: Cursor, span: Span) -> tuple[int, int, int]:
    """First and last stored epoch of the span, (0, -1) for none, and how many operators we know."""
    names = {"first": sql.Literal(span.first), "last": sql.Literal(span.last)}
    await cursor.execute(ENDS.format(**names))
    row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row and row[0] is not None else (0, -1, 1)


def points(
    cursor: Cursor, span: Span, operators: tuple[int, ...] | None, served: Served
) -> AsyncGenerator[bytes, None]:
    """Operators' share prices over a span, by epoch and operator, as a JSON array."""
    return as_array(_chunks(cursor, span, operators, None, served))


def lines(
    cursor: Cursor,
    span: Span,
    operators: tuple[int, ...] | None,
    columns: Sequence[Column],
    served: Served,
) -> AsyncGenerator[bytes, None]:
    """The same as lines of CSV, without the names of the columns."""
    return as_lines(_chunks(cursor, span, operators, columns, served))


async def _chunks(
    cursor: Cursor,
    span: Span,
    operators: tuple[int, ...] | None,
    columns: Sequence[Column] | None,
    served: Served,
) -> AsyncGenerator[bytes, None]:
    """Some epochs each, as prepared JSON without `columns`, else as lines of these."""
    first, last, operators_ever = await ends(cursor, span)
    width = operators_ever if operators is None else len(operators)
    size = max(1, CHUNK // (POINT_BYTES * max(1, width)))
    names = {
        "start": sql.SQL("start"),
        "end": sql.SQL("least(start + {} - 1, {})").format(sql.Literal(size), sql.Literal(last)),
        "chosen": chosen(operators),
    }
    if columns is None:
        rows = READY_POINTS.format(**names)
    else:
        rows = LINES.format(line=csv_line(columns), facts=FACTS.format(**names))
    copy = POINTS.format(
        first=sql.Literal(first),
        last=sql.Literal(last),
        size=sql.Literal(size),
        separator=sql.Literal("," if columns is None else "\n"),
        points=rows,
    )
    async with aclosing(chunks(cursor, copy, served)) as parts:
        async for chunk in parts:
            yield chunk
