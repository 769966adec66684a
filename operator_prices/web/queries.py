"""What the API asks Postgres: documents and rows by COPY, in chunks that Postgres puts together."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from psycopg import sql

from operator_prices.web.database import Cursor, Version

CHUNK = 136_000
"""Bytes that a chunk should have: smaller ones cost more to send, larger ones more memory."""

POINT_BYTES = 220
"""What a row of share prices takes as JSON, about."""

CAP = 5_000
"""The most epochs that a numeric `limit` gives, as of old."""

EPOCHS_WITHIN = sql.SQL(
    "SELECT min(epoch), max(epoch), count(*) FROM {table} WHERE epoch BETWEEN {first} AND {last}"
)
ENDS = sql.SQL(
    "SELECT min(epoch), max(epoch), (SELECT greatest(count(*), 1) FROM operators_metadata)"
    " FROM epoch_documents WHERE epoch BETWEEN {first} AND {last}"
)
LAST_EPOCHS_WITHIN = sql.SQL(
    "SELECT min(epoch), max(epoch), count(*) FROM (SELECT epoch FROM {table}"
    " WHERE epoch BETWEEN {first} AND {last} ORDER BY epoch DESC LIMIT {limit}) AS newest"
)
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

OPERATORS = sql.SQL(
    "SELECT operator.operator_id, name, color, operator.status, is_active, owner, signing_key,"
    " operator.nomination_tax, minimum_nominator_stake, first_seen_epoch, last_seen_epoch,"
    " latest.epoch, latest.stake_raw, latest.active_stake_raw, latest.shares_raw,"
    " latest.reward_raw,"
    " price.share_price_perq, price.source, latest.stake_per_share,"
    " present.epoch, present.timestamp, present.stake_per_share,"
    " (SELECT json_agg(json_build_array(days, first.epoch, first.timestamp,"
    " first.stake_per_share::text) ORDER BY days) FROM unnest({days}::bigint[]) AS days"
    " CROSS JOIN LATERAL (SELECT epoch AS until FROM epoch_documents WHERE from_chain"
    " AND timestamp <= present.timestamp - days * 86400000 ORDER BY timestamp DESC, epoch DESC"
    " LIMIT 1) AS target"
    " CROSS JOIN LATERAL ({worth} AND epoch <= until ORDER BY epoch DESC LIMIT 1) AS first)"
    " FROM operators_metadata AS operator"
    " LEFT JOIN LATERAL (SELECT share.*, stake_per_share(shares_raw, stake_raw, reward_raw,"
    " share.nomination_tax) AS stake_per_share FROM operator_shares AS share"
    " WHERE share.operator_id = operator.operator_id ORDER BY epoch DESC LIMIT 1) AS latest ON true"
    " LEFT JOIN operator_share_prices AS price ON price.operator_id = operator.operator_id"
    " AND price.epoch = latest.epoch"
    " LEFT JOIN LATERAL ({worth} ORDER BY epoch DESC LIMIT 1) AS present ON true"
    " WHERE {chosen} ORDER BY operator.operator_id"
)
WORTH = sql.SQL(
    "SELECT epoch, timestamp, stake_per_share(shares_raw, stake_raw, reward_raw,"
    " share.nomination_tax) AS stake_per_share FROM operator_shares AS share"
    " JOIN epoch_documents USING (epoch) WHERE from_chain AND shares_raw > 0"
    " AND stake_raw IS NOT NULL AND reward_raw IS NOT NULL AND share.nomination_tax IS NOT NULL"
    " AND share.operator_id = operator.operator_id"
)
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
"""The latest document, and its rewards in all, NULL where one of them is unknown."""

FRESHNESS = sql.SQL(
    "SELECT max(epoch), (SELECT timestamp FROM epoch_documents ORDER BY epoch DESC LIMIT 1),"
    " (SELECT from_chain FROM epoch_documents ORDER BY epoch DESC LIMIT 1) FROM epoch_documents"
)
STATUS = sql.SQL(
    "SELECT json_build_object('version', version, 'changedAt', changed_at,"
    " 'genesisHash', (SELECT genesis_hash FROM chain_identity),"
    " 'domainId', (SELECT domain_id FROM chain_identity),"
    " 'epochs', (SELECT count(*) FROM epoch_documents),"
    " 'firstEpoch', (SELECT min(epoch) FROM epoch_documents),"
    " 'lastEpoch', (SELECT max(epoch) FROM epoch_documents),"
    " 'lastTimestamp', (SELECT timestamp FROM epoch_documents ORDER BY epoch DESC LIMIT 1),"
    " 'lastTimestampFromChain', (SELECT from_chain FROM epoch_documents ORDER BY epoch DESC"
    " LIMIT 1),"
    " 'operators', (SELECT count(*) FROM operators_metadata),"
    " 'gaps', (SELECT coalesce(json_agg(json_build_array(before + 1, epoch - 1) ORDER BY epoch),"
    " '[]') FROM (SELECT epoch, lag(epoch) OVER (ORDER BY epoch) AS before FROM (SELECT epoch FROM"
    " epoch_documents UNION SELECT epoch FROM skipped_epochs) AS known) AS pairs"
    " WHERE before + 1 < epoch),"
    " 'skipped', (SELECT coalesce(json_agg(epoch ORDER BY epoch), '[]') FROM skipped_epochs),"
    " 'incomplete', (SELECT coalesce(json_agg(epoch ORDER BY epoch), '[]') FROM epochs"
    " WHERE NOT complete),"
    " 'quarantined', (SELECT coalesce(json_agg(json_build_object('epoch', epoch, 'values', amount)"
    " ORDER BY epoch), '[]') FROM (SELECT epoch, count(*) AS amount FROM quarantine GROUP BY epoch)"
    " AS counted))::text FROM data_version"
)
SKIPPED = sql.SQL("SELECT reason FROM skipped_epochs WHERE epoch = {epoch}")
NEW_EPOCHS = sql.SQL(
    "SELECT epoch, timestamp FROM epoch_documents WHERE epoch > {after} ORDER BY epoch"
    " LIMIT {limit}"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Which epochs are asked for, and as how many of them."""

    first: int = 0
    last: int = 2**32 - 1
    limit: int | None = None
    sample: int | None = None


@dataclass(slots=True)
class Served:
    """How many rows an answer has given."""

    rows: int = 0


async def bounds(
    cursor: Cursor, span: Span, table: str = "epoch_documents"
) -> tuple[int, int, int]:
    """First and last stored epoch of the span, and how many there are; (0, -1, 0) for none."""
    names = {
        "first": sql.Literal(span.first),
        "last": sql.Literal(span.last),
        "table": sql.Identifier(table),
    }
    if span.limit is None:
        await cursor.execute(EPOCHS_WITHIN.format(**names))
    else:
        await cursor.execute(LAST_EPOCHS_WITHIN.format(**names, limit=sql.Literal(span.limit)))
    row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row and row[2] else (0, -1, 0)


async def ends(cursor: Cursor, span: Span) -> tuple[int, int, int]:
    """First and last stored epoch of the span, (0, -1) for none, and how many operators we know."""
    names = {"first": sql.Literal(span.first), "last": sql.Literal(span.last)}
    await cursor.execute(ENDS.format(**names))
    row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row and row[0] is not None else (0, -1, 1)


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


NOT_SAMPLED = b'"sampleApplied":false'
SAMPLED = b'"sampleApplied":true'


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


def chosen(operators: tuple[int, ...] | None, column: str = "operator_id") -> sql.Composable:
    """The condition that a row is of one of these operators."""
    if operators is None:
        return sql.SQL("true")
    name = sql.Identifier(*column.split("."))
    if len(operators) == 1:
        return sql.SQL("{} = {}").format(name, sql.Literal(operators[0]))
    return sql.SQL("{} = ANY ({}::integer[])").format(name, sql.Literal(list(operators)))


async def chunks(cursor: Cursor, copy: sql.Composed, served: Served) -> AsyncGenerator[bytes, None]:
    """The second column of what is copied; the first one is the number of rows in it."""
    async with cursor.copy(copy) as rows:
        rows.set_types(["int8", "bytea"])  # text travels as its bytes: they need no decoding
        async for number, chunk in rows.rows():
            served.rows += number
            yield chunk
