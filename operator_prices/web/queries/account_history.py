"""An account's positions by epoch, read as little as it takes: its changes, and prices between."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql
from psycopg.rows import args_row

from operator_prices.web.database import Cursor
from operator_prices.web.queries.amounts import PAID_IN, PAID_OUT, TAX, leaving
from operator_prices.web.queries.spans import Span, chosen

OWN_PRICE = sql.SQL(
    "(SELECT share_price_perq FROM operator_share_prices AS own"
    " WHERE own.epoch = position.epoch AND own.operator_id = position.operator_id)"
)
REFUND = sql.SQL(
    "(SELECT withdrawing_storage_fee_raw FROM raw_nominators AS stored"
    " WHERE stored.operator_id = position.operator_id AND stored.nominator = position.nominator"
    " AND stored.epoch = position.epoch)"
)
OF_ACCOUNT = sql.SQL("nominator = {nominator} AND epoch <= {last} AND {chosen}")
CHANGES = sql.SQL(
    "SELECT operator_id, epoch, ended, shares_raw::text AS shares, pending_raw::text AS pending,"
    " withdrawing_shares_raw::text AS withdrawing_shares, unlocking_raw::text AS unlocking,"
    " storage_fee_deposit_raw::text AS storage_fee_deposit, on_hold_raw::text AS on_hold,"
    " ({leaving})::text AS leaving, ({paid_in})::text AS paid_in,"
    " withdrawn_shares_raw::text AS withdrawn_shares, ({paid_out})::text AS paid_out,"
    " ({tax})::text AS tax FROM nominator_positions AS position"
    " WHERE {of_account} AND epoch > {after} ORDER BY epoch FETCH FIRST {most} ROWS WITH TIES"
)
EVERY_EPOCH = sql.SQL("SELECT epoch FROM nominator_epochs")
SAMPLED_EPOCHS = sql.SQL(
    "WITH held AS MATERIALIZED (SELECT epoch, ended, until_epoch, withdrawn_shares_raw,"
    " {paid_in} AS paid_in, {paid_out} AS paid_out FROM nominator_positions WHERE {of_account})"
    " SELECT epoch FROM (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS number,"
    " count(*) OVER () AS epochs FROM nominator_epochs WHERE epoch BETWEEN"
    " greatest({first}, (SELECT min(epoch) FROM held)) AND (SELECT CASE WHEN bool_and(ended)"
    " FILTER (WHERE until_epoch IS NULL OR until_epoch > {last}) THEN max(epoch) ELSE {last} END"
    " FROM held)) AS numbered"
    " WHERE number % greatest(1, (epochs + {sample} - 1) / {sample}) = 0 OR number = epochs - 1"
    " OR epoch IN (SELECT epoch FROM held WHERE ended OR withdrawn_shares_raw IS DISTINCT FROM 0"
    " OR paid_in IS DISTINCT FROM 0 OR paid_out IS DISTINCT FROM 0)"
)
PRICED = sql.SQL(
    "COPY (WITH wanted AS {kept} ({wanted}) SELECT chunk.* FROM generate_series({first}::bigint,"
    " (SELECT max(epoch) FROM wanted WHERE epoch <= {last}), {size}) AS part (begun)"
    " CROSS JOIN LATERAL ("
    "SELECT string_agg(at::text, ' ' ORDER BY at, operator_id),"
    " string_agg(operator_id::text, ' ' ORDER BY at, operator_id),"
    " string_agg(coalesce(timestamp::text, ''), ' ' ORDER BY at, operator_id),"
    " string_agg(coalesce(share_price_perq::text, ''), ' ' ORDER BY at, operator_id)"
    " FROM (SELECT at, stretch.operator_id, timestamp, share_price_perq"
    " FROM (VALUES {stretches}) AS stretch (operator_id, begun, until)"
    " JOIN (SELECT epoch AS at FROM wanted WHERE {within}) AS turn"
    " ON at BETWEEN stretch.begun AND stretch.until"
    " LEFT JOIN (SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
    " WHERE {chosen} AND {within}) AS price"
    " ON price.epoch = at AND price.operator_id = stretch.operator_id"
    " LEFT JOIN (SELECT epoch, timestamp FROM epoch_documents WHERE {within}) AS document"
    " ON document.epoch = at) AS told HAVING count(*) > 0) AS chunk"
    ") TO STDOUT (FORMAT binary)"
)
"""A column each of epochs, operators, times and prices, the last two nothing where unknown.

Part by part, each of so many epochs: the first one is there before the last one is read, and what
is joined in each comes in the order of its index.
"""

WITHIN = sql.SQL("epoch BETWEEN part.begun AND least(part.begun + {size} - 1, {last})")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose history is asked for: of which epochs, and with which operators, None for all."""

    nominator: str
    span: Span
    operators: tuple[int, ...] | None

    def condition(self) -> sql.Composed:
        """That a row is a change of it until the span's last epoch."""
        return OF_ACCOUNT.format(
            nominator=self.nominator,
            last=self.span.last,
            chosen=chosen(self.operators),
        )

    def epochs(self) -> sql.Composable:
        """What selects the epochs that are told."""
        if self.span.sample is None:
            return EVERY_EPOCH
        return SAMPLED_EPOCHS.format(
            of_account=self.condition(),
            first=self.span.first,
            last=self.span.last,
            sample=self.span.sample,
            paid_in=PAID_IN,
            paid_out=PAID_OUT,
        )


class Change(NamedTuple):
    """What a position is from an epoch on, and what happened in that; amounts as decimal text."""

    operator_id: int
    epoch: int
    ended: bool
    shares: str
    pending: str
    withdrawing_shares: str
    unlocking: str
    storage_fee_deposit: str
    on_hold: str | None
    leaving: str | None
    paid_in: str | None
    withdrawn_shares: str | None
    paid_out: str | None
    tax: str | None

    @property
    def held(self) -> tuple[str | None, ...]:
        """From `pending` to `leaving`."""
        return self[4:10]

    @property
    def happened(self) -> tuple[str | None, ...]:
        """From `paid_in` to `tax`."""
        return self[10:]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Epochs, both ends with them, at which an account has a position with an operator."""

    operator_id: int
    begun: int
    until: int


Priced = tuple[str, str, str, str]
"""Epochs, operators, times in ms and prices, as many of each, with spaces between them."""


async def changes_after(cursor: Cursor, account: Account, after: int, most: int) -> list[Change]:
    """Changes after an epoch, the oldest first: so many, and all others of the last one's epoch."""
    async with cursor.connection.cursor(row_factory=args_row(Change)) as typed:
        await typed.execute(
            CHANGES.format(
                of_account=account.condition(),
                after=after,
                most=most,
                leaving=leaving("position", OWN_PRICE, REFUND),
                paid_in=PAID_IN,
                paid_out=PAID_OUT,
                tax=TAX,
            )
        )
        return await typed.fetchall()


async def priced(
    cursor: Cursor, account: Account, span: Span, stretches: Sequence[Stretch], size: int
) -> AsyncGenerator[Priced, None]:
    """The epochs of a span in each stretch with their prices, `size` at a time."""
    first = max(span.first, min(one.begun for one in stretches))
    last = min(span.last, max(one.until for one in stretches))
    copy = PRICED.format(
        kept=sql.SQL("NOT MATERIALIZED" if account.span.sample is None else "MATERIALIZED"),
        wanted=account.epochs(),
        stretches=sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(one.operator_id, one.begun, one.until)
            for one in stretches
        ),
        chosen=chosen(tuple(sorted({one.operator_id for one in stretches}))),
        within=WITHIN.format(size=size, last=last),
        first=first,
        last=last,
        size=size,
    )
    async with cursor.copy(copy) as rows:
        rows.set_types(["text"] * 4)
        async for epochs, operators, times, prices in rows.rows():
            yield epochs, operators, times, prices
