"""Epochs in the shape of the old API, from their prepared documents."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from psycopg import sql

from operator_prices.web.database import Cursor, Version
from operator_prices.web.queries.spans import CHUNK, Served, Span, as_array, bounds, chunks

EVERY = sql.SQL(
    "COPY (SELECT rows, chunk FROM generate_series({first}::bigint, {last}::bigint, {size}::bigint)"
    " AS start CROSS JOIN LATERAL (SELECT count(*) AS rows, string_agg(document, ',') AS chunk FROM"
    " (SELECT {document} AS document FROM {source} WHERE fact.epoch {within}"
    " ORDER BY fact.epoch) AS documents) AS chunks"
    " WHERE rows > 0) TO STDOUT (FORMAT binary)"
)
EVERY_NTH = sql.SQL(
    "COPY (WITH part AS (SELECT array_agg(epoch) AS epochs FROM (SELECT epoch, row_number() OVER"
    " (ORDER BY epoch) - 1 AS number FROM ({chosen}) AS chosen) AS numbered"
    " GROUP BY number / {size} ORDER BY number / {size})"
    " SELECT rows, chunk FROM part CROSS JOIN LATERAL (SELECT count(*) AS rows,"
    " string_agg(document, ',') AS chunk FROM (SELECT {document} AS document FROM {source}"
    " WHERE fact.epoch {within} ORDER BY fact.epoch) AS documents) AS chunks)"
    " TO STDOUT (FORMAT binary)"
)
NTH_STORED = sql.SQL(
    "SELECT epoch FROM (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS number,"
    " count(*) OVER () AS rows FROM epoch_documents WHERE epoch BETWEEN {first} AND {last})"
    " AS numbered WHERE number % {step} = 0 OR number = rows - 1"
)
"""Numbered before they are chosen, so gaps between epochs do not thin out what is shown."""

NTH = sql.SQL(
    "SELECT epoch FROM generate_series({first}::bigint, {last}::bigint, {step}::bigint) AS epoch"
    " UNION SELECT {last}::bigint"
)
"""The same where no epoch is missing: the number says the epoch, and nothing has to be counted."""

OF_A_RANGE = sql.SQL("BETWEEN start AND least(start + {size} - 1, {last})")
OF_A_SAMPLE = sql.SQL("= ANY (epochs)")
"""Which epochs a chunk has, in the one query and in the other."""

ROW = sql.SQL(
    " LEFT JOIN operator_shares AS {share} ON {share}.epoch = fact.epoch"
    " AND {share}.operator_id = {operator} AND {share}.epoch {within}"
    " LEFT JOIN operator_share_prices AS {price} ON {price}.epoch = fact.epoch"
    " AND {price}.operator_id = {operator} AND {price}.epoch {within}"
)
"""What is stored of an operator; Postgres does not conclude by itself of which epochs alone."""

STAKE = sql.SQL("{key} || {share}.active_stake_raw || '\"'")
REWARD = sql.SQL(
    "{key} || coalesce({share}.reward_raw::text, CASE WHEN fact.rewards_departed THEN (SELECT"
    " told.operator_rewards_json ->> {id} FROM epoch_analytics AS told"
    " WHERE told.epoch = fact.epoch) END, {no_reward}) || '\"'"
)
PRICE = sql.SQL("{key} || coalesce({price}.share_price_perq::text, {no_price}) || '\"'")
DEFAULTED = sql.SQL("CASE WHEN {price}.share_price_perq IS NULL THEN {quoted} END")
ASSEMBLED = sql.SQL(
    "concat('{{', fact.head, '{{', {stakes}, '}},\"rewards\":{{', {rewards},"
    " '}},\"operatorSharePrices\":{{', {prices}, '}},\"operators\":', fact.tail, '[',"
    " {defaulted}, ']}}}}')"
)
"""What `epoch_document` says of some operators, from the document's ends and from their rows."""

NOTHING = sql.SQL("NULL").format()

FEW = 4
"""Operators for whom rows are joined; for more the documents are taken apart, which costs less."""

OF_OLD = 4
"""The operators 0 to 3 are in every document of old: without a reward or a price by default."""

NO_PRICE = "1000000000000000000"

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
ROW_BYTES, END_BYTES = 120, 300
"""What an operator takes in a document of few, and what everything else does, about."""

NOT_SAMPLED = b'"sampleApplied":false'
SAMPLED = b'"sampleApplied":true'


async def documents(
    cursor: Cursor, version: Version, span: Span, operators: tuple[int, ...] | None, served: Served
) -> AsyncGenerator[bytes, None]:
    """The epochs of a span in the old shape, as one JSON array."""
    first, last, rows = await bounds(cursor, span)
    step, sampled = steps(rows, span.sample)
    width = version.document_bytes if operators is None else len(operators) * ROW_BYTES + END_BYTES
    size = max(1, CHUNK // max(1, min(width, version.document_bytes)))
    ends = {"size": sql.Literal(size), "last": sql.Literal(last)}
    within = OF_A_RANGE.format(**ends) if step == 1 else OF_A_SAMPLE.format()
    document, source = _documents(operators, within)
    nth = NTH if rows == last - first + 1 else NTH_STORED
    copy = (EVERY if step == 1 else EVERY_NTH).format(
        chosen=nth.format(first=first, last=last, step=step),
        first=first,
        document=document,
        source=source,
        within=within,
        **ends,
    )
    async with aclosing(as_array(chunks(cursor, copy, served))) as parts:
        async for chunk in parts:
            yield chunk.replace(NOT_SAMPLED, SAMPLED) if sampled else chunk


def _documents(
    operators: Sequence[int] | None, within: sql.Composable
) -> tuple[sql.Composable, sql.Composable]:
    """A document of `fact`, and what it is read from, of the epochs `within`."""
    if operators is None:
        return sql.Identifier("document"), sql.SQL("epoch_documents AS fact")
    ids = sorted(set(operators))
    if len(ids) > FEW:
        wanted = sql.Literal([str(operator) for operator in ids])
        document = sql.SQL("epoch_document(fact, {}::text[])").format(wanted)
        return document, sql.SQL("epoch_analytics AS fact")
    names = [_names(operator) for operator in ids]

    def each(part: sql.SQL, of: Sequence[Mapping[str, sql.Composable]] = names) -> sql.Composable:
        told = [part.format(**one) for one in of] or [NOTHING]
        return sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join(told))

    of_old = [_names(operator) for operator in ids if operator < OF_OLD]
    document = ASSEMBLED.format(
        stakes=each(STAKE),
        rewards=each(REWARD),
        prices=each(PRICE),
        defaulted=each(DEFAULTED, of_old),
    )
    joined = [
        sql.SQL("epoch_documents AS fact"),
        *(ROW.format(**one, within=within) for one in names),
    ]
    return document, sql.Composed(joined)


def _names(operator: int) -> dict[str, sql.Composable]:
    """What stands for an operator in the parts of a query."""
    of_old = operator < OF_OLD
    return {
        "share": sql.Identifier(f"share {operator}"),
        "price": sql.Identifier(f"price {operator}"),
        "operator": sql.Literal(operator),
        "id": sql.Literal(str(operator)),
        "key": sql.Literal(f'"{operator}":"'),
        "quoted": sql.Literal(f'"{operator}"'),
        "no_reward": sql.Literal("0" if of_old else None),
        "no_price": sql.Literal(NO_PRICE if of_old else None),
    }


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
