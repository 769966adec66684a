"""What a nominator has with operators, at the close of one epoch and by all changes before it."""

from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from operator_prices.web.database import Cursor
from operator_prices.web.queries.amounts import PAID_IN, PAID_OUT, TAX, leaving, total

ACCOUNT = sql.SQL("SELECT address FROM nominator_accounts WHERE nominator = {nominator}")
SEEN = sql.SQL(
    "SELECT first_seen_epoch, last_seen_epoch FROM nominators WHERE nominator = {nominator}"
)
KNOWN = sql.SQL(
    "SELECT min(epoch), max(epoch), (SELECT count(*) FROM nominator_accounts) FROM nominator_epochs"
)
PACE = sql.SQL(
    "WITH paced AS (SELECT head_domain_number AS head, timestamp FROM nominator_epochs"
    " JOIN epoch_documents USING (epoch) WHERE head_domain_number IS NOT NULL AND from_chain"
    " AND epoch BETWEEN {closing} - 50 AND {closing})"
    " SELECT min(head), max(head), min(timestamp), max(timestamp) FROM paced"
)
REFUND = sql.SQL("stored.withdrawing_storage_fee_raw")
MOMENTS = sql.SQL(
    "WITH bounds AS (SELECT (SELECT max(epoch) FROM nominator_epochs WHERE epoch < {first})"
    " AS opening, (SELECT max(epoch) FROM nominator_epochs WHERE epoch <= {last}) AS closing),"
    " change AS (SELECT position.*, lag(epoch) OVER states AS before, lead(epoch) OVER states"
    " AS after, {paid_in} AS paid_in, {paid_out} AS paid_out,"
    " (withdrawing_shares_raw, unlocking) IS DISTINCT FROM (lag(withdrawing_shares_raw)"
    " OVER states, lag(unlocking) OVER states) AS moved,"
    " {taxed} AS taxed,"
    " min(epoch) OVER states AS first_epoch"
    " FROM nominator_positions AS position WHERE nominator = {nominator}"
    " AND epoch <= (SELECT closing FROM bounds)"
    " WINDOW states AS (PARTITION BY operator_id ORDER BY epoch)),"
    " wanted AS (SELECT change.*, kind, at FROM change CROSS JOIN bounds"
    " CROSS JOIN LATERAL (VALUES ('opening', opening, epoch <= opening AND (after > opening) IS NOT"
    " FALSE), ('change', epoch, (epoch > opening) IS NOT FALSE AND (before IS NULL OR moved"
    " OR ended OR paid_in IS DISTINCT FROM 0 OR paid_out IS DISTINCT FROM 0)),"
    " ('closing', closing, after IS NULL)) AS moment (kind, at, holds) WHERE holds)"
    " SELECT kind, wanted.operator_id, at, wanted.epoch, first_epoch, ended,"
    " CASE WHEN from_chain THEN timestamp END AS timestamp, wanted.shares_raw AS shares,"
    " shares_to_stake(wanted.shares_raw, share_price_perq) AS stake, wanted.pending_raw AS pending,"
    " wanted.storage_fee_deposit_raw AS storage_fee_deposit, wanted.on_hold_raw AS on_hold,"
    " share_price_perq, wanted.withdrawing_shares_raw AS withdrawing_shares,"
    " shares_to_stake(wanted.withdrawing_shares_raw, leaves.price) AS withdrawing,"
    " stored.withdrawing_storage_fee_raw AS withdrawing_refund,"
    " stored.withdrawing_block AS withdrawing_block, wanted.unlocking,"
    " CASE WHEN wanted.shares_raw = 0 THEN 0"
    " ELSE shares_to_stake(wanted.shares_raw, share_price_perq) END"
    " + wanted.pending_raw + wanted.storage_fee_deposit_raw AS staked, {leaving} AS leaving,"
    " paid_in, paid_out, taxed"
    " FROM wanted LEFT JOIN operator_share_prices AS price ON price.epoch = at"
    " AND price.operator_id = wanted.operator_id"
    " LEFT JOIN LATERAL (SELECT share_price_perq AS price FROM operator_share_prices AS own"
    " WHERE wanted.withdrawing_shares_raw > 0 AND own.epoch = wanted.epoch"
    " AND own.operator_id = wanted.operator_id) AS leaves ON true"
    " LEFT JOIN epoch_documents AS document ON document.epoch = at"
    " LEFT JOIN raw_nominators AS stored ON stored.operator_id = wanted.operator_id"
    " AND stored.nominator = wanted.nominator AND stored.epoch = wanted.epoch"
    " AND wanted.withdrawing_shares_raw > 0"
    " ORDER BY wanted.operator_id, kind, at"
)
"""Of each operator, by `kind`: the changes that count, and the states at both ends of the span."""

TAX_OF_SPAN = sql.SQL(
    "CASE WHEN epoch <= (SELECT opening FROM bounds) THEN 0 ELSE {tax} END"
).format(tax=TAX)


async def address_of(cursor: Cursor, nominator: str) -> str | None:
    """The address of an account that ever had a position, None for any other."""
    await cursor.execute(ACCOUNT.format(nominator=sql.Literal(nominator)))
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def seen(cursor: Cursor, nominator: str) -> tuple[int | None, int | None]:
    """The first and the last epoch at which the account has a position."""
    await cursor.execute(SEEN.format(nominator=sql.Literal(nominator)))
    row = await cursor.fetchone()
    return (None, None) if row is None else (row[0], row[1])


async def known(cursor: Cursor) -> tuple[int | None, int | None, int]:
    """The first and the last epoch whose positions are known, and how many accounts have any."""
    await cursor.execute(KNOWN)
    first, last, accounts = await cursor.fetchone() or (None, None, 0)
    return first, last, accounts


async def pace(cursor: Cursor, closing: int) -> tuple[int | None, ...]:
    """How far the domain was, and when, at both ends of the last fifty epochs."""
    await cursor.execute(PACE.format(closing=sql.Literal(closing)))
    return tuple(await cursor.fetchone() or (None, None, None, None))


async def moments(cursor: Cursor, nominator: str, first: int, last: int) -> list[dict[str, Any]]:
    """The rows of `MOMENTS` for the epochs from `first` to `last`."""
    async with cursor.connection.cursor(row_factory=dict_row) as named:
        await named.execute(
            MOMENTS.format(
                nominator=sql.Literal(nominator),
                first=sql.Literal(first),
                last=sql.Literal(last),
                paid_in=PAID_IN,
                paid_out=PAID_OUT,
                taxed=total(TAX_OF_SPAN),
                leaving=leaving("wanted", sql.SQL("leaves.price"), REFUND),
            )
        )
        return await named.fetchall()
