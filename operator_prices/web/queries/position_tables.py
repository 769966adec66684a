"""An operator's nominators and their payments, as tables."""

from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql

from operator_prices.web.database import Cursor
from operator_prices.web.queries.amounts import STAKE
from operator_prices.web.queries.rendered import Facts, column
from operator_prices.web.queries.spans import CHUNK, Column, Span

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


AMOUNTS = {
    "paid": ("deposited_raw", "deposited_storage_fee_raw"),
    "taxed": ("tax_raw", "tax_storage_fee_raw"),
    "leaves": ("withdrawn_shares_raw",),
    "released": ("released_raw", "released_storage_fee_raw"),
}
"""What flows in a change by kind, both what is staked and what goes to the storage fund."""

RAW = [name for names in AMOUNTS.values() for name in names]
FLOWED = " OR ".join(f"{name} IS DISTINCT FROM 0" for name in RAW)
"""That something flowed in a change, or may have: what `nominator_positions_flows` has alone."""

CHANGES = sql.SQL(
    "SELECT epoch, {raw}, {kinds} FROM nominator_positions"
    " WHERE operator_id = {operator} AND {within} AND ({flowed}) ORDER BY epoch OFFSET 0"
)
"""With whether it is of each kind: NULL where nobody knows, and looked at but once."""

KINDS = ", ".join(
    f"({' OR '.join(f'{name} <> 0' for name in names)}) AS {kind}"
    for kind, names in AMOUNTS.items()
)


class Flow(NamedTuple):
    """A sum, in SQL: of what, in changes of which kind, and where it is unknown."""

    amount: str
    kind: str
    unknown: str


def _flow(kind: str) -> Flow:
    names = AMOUNTS[kind]
    return Flow(" + ".join(names), kind, " OR ".join(f"{name} IS NULL" for name in names))


LEFT = _flow("leaves")
FLOWS = {
    "paid_in": _flow("paid"),
    "tax": _flow("taxed"),
    "withdrawn_shares": LEFT,
    "withdrawn": Flow(
        STAKE.format(shares=LEFT.amount, price="share_price_perq"),
        LEFT.kind,
        f"{LEFT.unknown} OR ({LEFT.kind} AND share_price_perq IS NULL)",
    ),
    "paid_out": _flow("released"),
}
"""Each withdrawal is converted by itself, as the chain does: the sum of what is rounded down."""

COUNTED = {"deposits": "paid", "withdrawals": "leaves", "unlocks": "released"}
NOBODY_KNOWS = " AND ".join(f"({_flow(kind).unknown})" for kind in AMOUNTS)

SUM = (
    "CASE WHEN count(*) FILTER (WHERE {unknown}) = 0"
    " THEN coalesce((sum({amount}) FILTER (WHERE {kind}))::text, '0') END AS {name}"
)
"""To add nothing costs more than to see that it is nothing: a change is of one kind mostly."""

COUNT = (
    "CASE WHEN count(*) FILTER (WHERE {nobody_knows}) = 0"
    " THEN count(*) FILTER (WHERE {kind} IS NOT FALSE) END AS {name}"
)
"""How many; a payment of unknown amount counts, and one of which nobody knows whether it was is
unknown."""

SUMS = ", ".join(
    [
        *(SUM.format(name=name, **flow._asdict()) for name, flow in FLOWS.items()),
        *(
            COUNT.format(name=name, nobody_knows=NOBODY_KNOWS, kind=kind)
            for name, kind in COUNTED.items()
        ),
    ]
)
FLOWS_BY_EPOCH = sql.SQL(
    "SELECT told.*, timestamp FROM (SELECT epoch, {sums} FROM ({changes}) AS change"
    " LEFT JOIN (SELECT epoch, share_price_perq FROM operator_share_prices"
    " WHERE operator_id = {operator} AND {within}) AS price USING (epoch) GROUP BY epoch) AS told"
    " LEFT JOIN (SELECT epoch AS at, timestamp FROM epoch_documents WHERE {within}) AS document"
    " ON at = epoch"
)
FLOW_PARTS = sql.SQL(
    "SELECT first, least(first + {rows} - 1, {last}) AS last FROM generate_series({first}::bigint,"
    " (SELECT max(epoch) FROM nominator_positions WHERE epoch <= {last}), {rows}) AS first"
)
FLOW_BYTES = 250
"""What a row takes as JSON, about."""

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


def flows(operator: int, span: Span) -> Facts:
    """What nominators paid in, withdrew and were paid out; epochs of nothing are left out."""
    names: dict[str, sql.Composable] = {
        "operator": sql.Literal(operator),
        "within": sql.SQL("epoch BETWEEN part.first AND part.last"),
    }
    changes = CHANGES.format(
        raw=sql.SQL(", ".join(RAW)), kinds=sql.SQL(KINDS), flowed=sql.SQL(FLOWED), **names
    )
    rows = FLOWS_BY_EPOCH.format(changes=changes, sums=sql.SQL(SUMS), **names)
    parts = FLOW_PARTS.format(first=span.first, last=span.last, rows=CHUNK // FLOW_BYTES)
    return Facts(rows, FLOWS_ORDER, FLOW_COLUMNS, parts)
