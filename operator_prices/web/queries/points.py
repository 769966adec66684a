"""Share prices: a point for each operator at each epoch, as JSON, CSV or rows for a worker."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from psycopg import sql

from operator_prices.web.database import Cursor
from operator_prices.web.queries.spans import CHUNK, Served, Span, chosen, chunks

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
CSV_POINTS = sql.SQL("SELECT {point} AS point FROM {facts} AS fact")
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

POINT_COLUMNS = (
    "epoch",
    "operator_id",
    "timestamp",
    "share_price_perq",
    "stake_per_share",
    "stake",
    "shares",
    "reward",
    "nomination_tax",
    "status",
    "source",
)
POINT_KINDS = [
    ("epoch", "integer"),
    ("operator_id", "integer"),
    ("timestamp", "integer"),
    ("share_price_perq", "integer"),
    *((name, "text") for name in ("stake_per_share", "stake", "shares", "reward")),
    ("nomination_tax", "integer"),
    ("status", "text"),
    ("source", "text"),
]
"""A price fits 64 bits; amounts of 128 bits are decimal text, which every reader takes exactly."""

TABLE = sql.SQL(
    "COPY (SELECT epoch, operator_id, timestamp, share_price_perq, stake_per_share, stake_raw,"
    " shares_raw, reward_raw, nomination_tax, status, source FROM {facts} AS fact"
    " ORDER BY epoch, operator_id) TO STDOUT (FORMAT csv)"
)
CSV_POINT = sql.SQL(
    "concat_ws(',', epoch, operator_id, coalesce(timestamp::text, ''),"
    " coalesce(share_price_perq::text, ''), coalesce(stake_per_share::text, ''),"
    " coalesce(stake_raw::text, ''), coalesce(shares_raw::text, ''),"
    " coalesce(reward_raw::text, ''),"
    " coalesce(nomination_tax::text, ''), coalesce(status, ''), coalesce(fact.source, ''))"
)


async def ends(cursor: Cursor, span: Span) -> tuple[int, int, int]:
    """First and last stored epoch of the span, (0, -1) for none, and how many operators we know."""
    names = {"first": sql.Literal(span.first), "last": sql.Literal(span.last)}
    await cursor.execute(ENDS.format(**names))
    row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row and row[0] is not None else (0, -1, 1)


async def points(
    cursor: Cursor, span: Span, operators: tuple[int, ...] | None, *, csv: bool, served: Served
) -> AsyncGenerator[bytes, None]:
    """Operators' share prices over a span, by epoch and operator, as a JSON array or as CSV."""
    first, last, operators_ever = await ends(cursor, span)
    width = operators_ever if operators is None else len(operators)
    size = max(1, CHUNK // (POINT_BYTES * max(1, width)))
    names = {
        "start": sql.SQL("start"),
        "end": sql.SQL("least(start + {} - 1, {})").format(sql.Literal(size), sql.Literal(last)),
        "chosen": chosen(operators),
    }
    rows = (
        CSV_POINTS.format(point=CSV_POINT, facts=FACTS.format(**names))
        if csv
        else READY_POINTS.format(**names)
    )
    copy = POINTS.format(
        first=sql.Literal(first),
        last=sql.Literal(last),
        size=sql.Literal(size),
        separator=sql.Literal("\n" if csv else ","),
        points=rows,
    )
    separator, between = (b"", b"\n") if csv else (b"[", b",")
    if csv:
        yield ",".join(POINT_COLUMNS).encode() + b"\n"
    async with aclosing(chunks(cursor, copy, served)) as parts:
        async for chunk in parts:
            yield separator + chunk
            separator = between
    if csv:
        yield b"\n" if separator else b""
    else:
        yield b"]" if separator == b"," else b"[]"


async def snapshot(cursor: Cursor) -> str:
    """The statement by which another connection sees what this one sees."""
    await cursor.execute("SELECT pg_export_snapshot()")
    row = await cursor.fetchone()
    return sql.SQL("SET TRANSACTION SNAPSHOT {}").format(row[0] if row else "").as_string(cursor)


async def point_table(cursor: Cursor, span: Span, operators: tuple[int, ...] | None) -> str:
    """The statement by which a worker reads the same rows, with the columns of `POINT_KINDS`."""
    first, last, _ = await ends(cursor, span)
    facts = FACTS.format(start=sql.Literal(first), end=sql.Literal(last), chosen=chosen(operators))
    return TABLE.format(facts=facts).as_string(cursor)
