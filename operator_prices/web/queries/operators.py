"""Operators: what each is now, and what its stake was worth then."""

from typing import Any

from psycopg import sql

from operator_prices.web.database import Cursor
from operator_prices.web.queries.spans import chosen

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
    " CROSS JOIN LATERAL ({worth} AND share.epoch <= until AND document.epoch <= until"
    " ORDER BY epoch DESC LIMIT 1) AS first)"
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
    " JOIN epoch_documents AS document USING (epoch) WHERE from_chain AND shares_raw > 0"
    " AND stake_raw IS NOT NULL AND reward_raw IS NOT NULL AND share.nomination_tax IS NOT NULL"
    " AND share.operator_id = operator.operator_id"
)
LAST_OPERATOR = sql.SQL("SELECT max(operator_id) FROM operators_metadata")
OPERATOR = sql.SQL("SELECT FROM operators_metadata WHERE operator_id = {operator}")


async def operator_rows(
    cursor: Cursor, operators: tuple[int, ...] | None, days: tuple[int, ...]
) -> list[tuple[Any, ...]]:
    """A row for each operator, with what it was worth so many days before."""
    await cursor.execute(
        OPERATORS.format(
            days=sql.Literal(list(days)),
            worth=WORTH,
            chosen=chosen(operators, "operator.operator_id"),
        )
    )
    return await cursor.fetchall()


async def operator_exists(cursor: Cursor, operator: int) -> bool:
    await cursor.execute(OPERATOR.format(operator=sql.Literal(operator)))
    return await cursor.fetchone() is not None


async def last_operator(cursor: Cursor) -> int | None:
    """The highest id of any operator, None without any."""
    await cursor.execute(LAST_OPERATOR)
    row = await cursor.fetchone()
    return None if row is None else row[0]
