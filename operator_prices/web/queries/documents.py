"""Epochs in the shape of the old API, from their prepared documents."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from psycopg import sql

from operator_prices.web.database import Cursor, Version
from operator_prices.web.queries.spans import CHUNK, Served, Span, bounds, chunks

EVERY = sql.SQL(
    "COPY (SELECT rows, chunk FROM generate_series({first}::bigint, {last}::bigint, {size}::bigint)"
    " AS start CROSS JOIN LATERAL (SELECT count(*) AS rows, string_agg(document, ',') AS chunk FROM"
    " (SELECT {document} AS document FROM {table} AS fact WHERE epoch BETWEEN start AND"
    " least(start + {size} - 1, {last}) ORDER BY epoch) AS documents) AS chunks"
    " WHERE rows > 0) TO STDOUT (FORMAT binary)"
)
EVERY_NTH = sql.SQL(
    "COPY (WITH part AS (SELECT array_agg(epoch) AS epochs FROM (SELECT epoch, row_number() OVER"
    " (ORDER BY epoch) - 1 AS number FROM (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS"
    " number, count(*) OVER () AS rows FROM epoch_documents WHERE epoch BETWEEN {first} AND {last})"
    " AS numbered WHERE number % {step} = 0 OR number = rows - 1) AS chosen"
    " GROUP BY number / {size} ORDER BY number / {size})"
    " SELECT rows, chunk FROM part CROSS JOIN LATERAL (SELECT count(*) AS rows,"
    " string_agg(document, ',') AS chunk FROM (SELECT {document} AS document FROM {table} AS fact"
    " WHERE epoch = ANY (epochs) ORDER BY epoch) AS documents) AS chunks)"
    " TO STDOUT (FORMAT binary)"
)
"""Numbered before they are chosen, so gaps between epochs do not thin out what is shown."""

HEALTH = sql.SQL(
    "SELECT count(*), count(*) FILTER (WHERE document LIKE '%\"rewardsHasAny\":true%'),"
    " EXISTS (SELECT FROM operator_share_prices) FROM (SELECT document FROM epoch_documents"
    " ORDER BY epoch DESC LIMIT 500) AS newest"
)
LATEST = sql.SQL(
    "SELECT document, CASE WHEN total_stake_raw IS NOT NULL AND NOT EXISTS (SELECT FROM"
    " jsonb_object_keys(operator_shares_json) AS operator WHERE NOT operator_rewards_json"
    " ? operator) THEN (SELECT coalesce(sum(value::numeric), 0)::text FROM"
    " jsonb_each_text(operator_rewards_json)) END FROM epoch_documents JOIN epoch_analytics"
    " USING (epoch) ORDER BY epoch DESC LIMIT 1"
)
NOT_SAMPLED = b'"sampleApplied":false'
SAMPLED = b'"sampleApplied":true'


async def documents(
    cursor: Cursor, version: Version, span: Span, operators: tuple[int, ...] | None, served: Served
) -> AsyncGenerator[bytes, None]:
    """The epochs of a span in the old shape, as one JSON array."""
    first, last, rows = await bounds(cursor, span)
    step, sampled = steps(rows, span.sample)
    size = max(1, CHUNK // max(1, version.document_bytes))
    if operators is None:
        document: sql.Composable = sql.Identifier("document")
        table = sql.Identifier("epoch_documents")
    else:
        ids = sql.Literal([str(operator) for operator in operators])
        document = sql.SQL("epoch_document(fact, {}::text[])").format(ids)
        table = sql.Identifier("epoch_analytics")
    copy = (EVERY if step == 1 else EVERY_NTH).format(
        first=sql.Literal(first),
        last=sql.Literal(last),
        size=sql.Literal(size),
        step=sql.Literal(step),
        document=document,
        table=table,
    )
    separator = b"["
    async with aclosing(chunks(cursor, copy, served)) as parts:
        async for chunk in parts:
            yield separator + (chunk.replace(NOT_SAMPLED, SAMPLED) if sampled else chunk)
            separator = b","
    yield b"]" if separator == b"," else b"[]"


def steps(rows: int, sample: int | None) -> tuple[int, bool]:
    """Every how many of the rows one is kept, and whether that leaves any out: the last one stays.

    >>> steps(10, 4), steps(2, 1), steps(5, None)
    ((3, True), (2, False), (1, False))
    """
    step = -(-rows // sample) if sample and rows else 1
    return step, step > 1 and rows > 2  # noqa: PLR2004 - of two, the first and the last are kept


async def health_row(cursor: Cursor) -> tuple[int, int, bool]:
    """How many of the newest 500 epochs there are, how many with rewards, and if any is priced."""
    await cursor.execute(HEALTH)
    row = await cursor.fetchone()
    return (0, 0, False) if row is None else (row[0], row[1], row[2])


async def latest(cursor: Cursor) -> tuple[str, str | None] | None:
    """The latest document, and its rewards in all, None where one of them is unknown."""
    await cursor.execute(LATEST)
    row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])
