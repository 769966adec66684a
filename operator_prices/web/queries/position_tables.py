"""An operator's nominators and their payments, as tables."""

from dataclasses import dataclass

from psycopg import sql

from operator_prices.web.database import Cursor
from operator_prices.web.queries.amounts import PAID_IN, PAID_OUT, STAKE, TAX
from operator_prices.web.queries.rendered import ROWS, Facts, column
from operator_prices.web.queries.spans import Column, Span

# ---- an operator's nominators

HELD = sql.SQL("operator_id = {operator} AND until_epoch IS NULL AND NOT ended")
POOL = sql.SQL(
    "SELECT newest.epoch, (SELECT shares_raw FROM operator_shares AS share WHERE share.epoch ="
    " newest.epoch AND share.operator_id = {operator}), held.* FROM (SELECT max(epoch) AS epoch"
    " FROM nominator_epochs) AS newest CROSS JOIN (SELECT count(*), coalesce(sum(shares_raw), 0),"
    " coalesce(sum(shares_raw) FILTER (WHERE place <= 1), 0),"
    " coalesce(sum(shares_raw) FILTER (WHERE place <= 10), 0),"
    " coalesce(sum(shares_raw) FILTER (WHERE place <= 100), 0) FROM (SELECT shares_raw,"
    " row_number() OVER (ORDER BY shares_raw DESC, nominator) AS place FROM nominator_positions"
    " WHERE {held}) AS placed) AS held"
)
NOMINATORS = sql.SQL(
    "SELECT position.*, newest.epoch AS at, address, share_price_perq, {stake} AS stake,"
    " CASE WHEN pool.shares_raw > 0 THEN trim_scale(div(position.shares_raw * 1000000000000000000,"
    " pool.shares_raw) * 1e-18) END AS share_of_pool"
    " FROM (SELECT * FROM nominator_positions WHERE {held} ORDER BY shares_raw DESC, nominator"
    " LIMIT {limit} OFFSET {offset}) AS position"
    " CROSS JOIN (SELECT max(epoch) AS epoch FROM nominator_epochs) AS newest"
    " LEFT JOIN nominator_accounts AS account USING (nominator)"
    " LEFT JOIN operator_share_prices AS price ON price.epoch = newest.epoch"
    " AND price.operator_id = {operator}"
    " LEFT JOIN operator_shares AS pool ON pool.epoch = newest.epoch"
    " AND pool.operator_id = {operator}"
)
NOMINATORS_ORDER = sql.SQL("shares_raw DESC, nominator")
NOMINATOR_COLUMNS: tuple[Column, ...] = (
    column("nominator"),
    column("address"),
    column("epoch", "integer", "at"),
    column("changed_epoch", "integer", "epoch"),
    column("shares", source="shares_raw"),
    column("share_of_pool"),
    column("stake"),
    column("pending", source="pending_raw"),
    column("withdrawing_shares", source="withdrawing_shares_raw"),
    column("unlocking", source="unlocking_raw"),
    column("storage_fee_deposit", source="storage_fee_deposit_raw"),
    column("on_hold", source="on_hold_raw"),
)


@dataclass(frozen=True, slots=True)
class Pool:
    """All positions with an operator at the newest epoch, together."""

    epoch: int | None
    shares: int | None
    """That the chain says the operator has."""
    nominators: int
    held: int
    largest: dict[int, int]
    """The shares of the largest one, ten and hundred."""


async def pool(cursor: Cursor, operator: int) -> Pool:
    """How many nominators an operator has, and what the largest of them hold."""
    names: dict[str, sql.Composable] = {"operator": sql.Literal(operator)}
    await cursor.execute(POOL.format(**names, held=HELD.format(**names)))
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the pool of an operator is one row, and none came")
    epoch, shares, count, held, *largest = row
    known = dict(zip((1, 10, 100), map(int, largest), strict=True))
    return Pool(epoch, None if shares is None else int(shares), count, int(held), known)


def nominators(operator: int, limit: int, offset: int) -> Facts:
    """The positions with an operator at the newest epoch, the largest first."""
    names: dict[str, sql.Composable] = {"operator": sql.Literal(operator)}
    rows = NOMINATORS.format(
        **names,
        held=HELD.format(**names),
        limit=sql.Literal(limit),
        offset=sql.Literal(offset),
        stake=sql.SQL(STAKE.format(shares="position.shares_raw", price="share_price_perq")),
    )
    return Facts(rows, NOMINATORS_ORDER, NOMINATOR_COLUMNS)


# ---- what came and went

FLOWED = sql.SQL(" OR ").join(
    sql.SQL("{} IS DISTINCT FROM 0").format(sql.Identifier(name))
    for name in (
        *("deposited_raw", "deposited_storage_fee_raw", "tax_raw", "tax_storage_fee_raw"),
        *("withdrawn_shares_raw", "released_raw", "released_storage_fee_raw"),
    )
)
"""That something flowed in a change, or may have: what `nominator_positions_flows` has alone."""

FLOWS = sql.SQL(
    "WITH change AS (SELECT epoch, {paid_in} AS paid_in, {tax} AS tax,"
    " withdrawn_shares_raw AS withdrawn_shares, {paid_out} AS paid_out FROM nominator_positions"
    " WHERE operator_id = {operator} AND {within} AND ({flowed}) ORDER BY epoch OFFSET 0),"
    " flow AS (SELECT change.*, CASE WHEN withdrawn_shares = 0 THEN 0 ELSE {withdrawn} END"
    " AS withdrawn, paid_in IS NULL AND tax IS NULL AND withdrawn_shares IS NULL"
    " AND paid_out IS NULL AS unknown FROM change LEFT JOIN (SELECT epoch, share_price_perq"
    " FROM operator_share_prices WHERE operator_id = {operator} AND {within}) AS price"
    " USING (epoch) ORDER BY epoch OFFSET 0)"
    " SELECT told.*, timestamp FROM (SELECT epoch, {sums} FROM flow GROUP BY epoch) AS told"
    " LEFT JOIN (SELECT epoch AS at, timestamp FROM epoch_documents WHERE {within}) AS document"
    " ON at = epoch"
)
"""Each withdrawal is converted by itself, as the chain does: the sum of what is rounded down.

Changes come in the order of the index and are grouped in it, each row but once.
"""

FLOW_PARTS = sql.SQL(
    "SELECT first, least(first + {rows} - 1, {last}) AS last FROM generate_series({first}::bigint,"
    " (SELECT max(epoch) FROM nominator_positions WHERE epoch <= {last}), {rows}) AS first"
)

FLOW_SUM = (
    "CASE WHEN count(*) FILTER (WHERE {name} IS NULL) = 0"
    " THEN coalesce(sum({name}) FILTER (WHERE {name} <> 0), 0) END AS {name}"
)
"""To add nothing costs more than to see that it is nothing: a change is one kind of flow mostly."""

FLOW_COUNT = (
    "CASE WHEN NOT bool_or(unknown) THEN count(*) FILTER (WHERE {name} IS DISTINCT FROM 0) END"
    " AS {count}"
)
"""How many; a payment of unknown amount counts, and one of which nobody knows whether it was is
unknown."""

FLOW_SUMS = sql.SQL(", ").join(
    [
        *(
            sql.SQL(FLOW_SUM).format(name=sql.Identifier(name))
            for name in ("paid_in", "tax", "withdrawn_shares", "withdrawn", "paid_out")
        ),
        *(
            sql.SQL(FLOW_COUNT).format(name=sql.Identifier(name), count=sql.Identifier(count))
            for name, count in (
                ("paid_in", "deposits"),
                ("withdrawn_shares", "withdrawals"),
                ("paid_out", "unlocks"),
            )
        ),
    ]
)

FLOWS_ORDER = sql.SQL("epoch")
FLOW_COLUMNS: tuple[Column, ...] = (
    column("epoch", "integer"),
    column("timestamp", "integer"),
    column("deposits", "integer"),
    column("paid_in"),
    column("tax"),
    column("withdrawals", "integer"),
    column("withdrawn_shares"),
    column("withdrawn"),
    column("unlocks", "integer"),
    column("paid_out"),
)


WITHDRAWN = STAKE.format(shares="withdrawn_shares", price="share_price_perq")


def flows(operator: int, span: Span) -> Facts:
    """What nominators paid in, withdrew and were paid out; epochs of nothing are left out."""
    rows = FLOWS.format(
        operator=sql.Literal(operator),
        within=sql.SQL("epoch BETWEEN part.first AND part.last"),
        flowed=FLOWED,
        withdrawn=sql.SQL(WITHDRAWN),
        sums=FLOW_SUMS,
        paid_in=PAID_IN,
        paid_out=PAID_OUT,
        tax=TAX,
    )
    parts = FLOW_PARTS.format(first=span.first, last=span.last, rows=ROWS)
    return Facts(rows, FLOWS_ORDER, FLOW_COLUMNS, parts)
