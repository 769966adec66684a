"""An account's positions by epoch, read as little as it takes: its changes, and what is between."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

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
LIVES = sql.SQL(
    "SELECT operator_id, min(epoch), array_agg(epoch ORDER BY epoch) FILTER (WHERE ended),"
    " array_agg(until_epoch ORDER BY epoch) FILTER (WHERE ended)"
    " FROM nominator_positions WHERE {of_account} GROUP BY operator_id"
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
PARTS = sql.SQL(
    "COPY (WITH wanted AS {kept} ({wanted}) SELECT told.*, (SELECT {changes}"
    " FROM nominator_positions AS position WHERE {of_account} AND {chosen} AND {within}) FROM"
    " generate_series({earliest}, ((SELECT max(epoch) FROM wanted WHERE epoch <= {last}) - {first})"
    " / {size}) AS number"
    " CROSS JOIN LATERAL (SELECT CASE WHEN number < 0 THEN {past} ELSE {size} END) AS part (length)"
    " CROSS JOIN LATERAL (SELECT {own} FROM (SELECT at, stretch.operator_id, timestamp,"
    " share_price_perq FROM (VALUES {stretches}) AS stretch (operator_id, begun, until)"
    " JOIN (SELECT epoch AS at FROM wanted WHERE {within} AND epoch BETWEEN {first} AND {last})"
    " AS turn ON at BETWEEN stretch.begun AND stretch.until"
    " LEFT JOIN (SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
    " WHERE {chosen} AND {within}) AS price"
    " ON price.epoch = at AND price.operator_id = stretch.operator_id"
    " LEFT JOIN (SELECT epoch, timestamp FROM epoch_documents WHERE {within}) AS document"
    " ON document.epoch = at) AS fact) AS told) TO STDOUT (FORMAT binary)"
)
"""A text for each column of `Own`, and one of changes; NULL where a part has no row of them.

What is joined in each part comes in the order of its index, and the first part is there before the
last one is read. Those of a number below 0 are before the first epoch told and have changes alone.
"""

WITHIN = sql.SQL(
    "epoch BETWEEN {first} + number * part.length AND {first} + (number + 1) * part.length - 1"
)
OWN = sql.SQL(
    "string_agg(at::text, ' ' ORDER BY at, operator_id),"
    " string_agg(operator_id::text, ' ' ORDER BY at, operator_id),"
    " string_agg(coalesce(timestamp::text, ''), ' ' ORDER BY at, operator_id),"
    " string_agg(coalesce(share_price_perq::text, ''), ' ' ORDER BY at, operator_id)"
)
CHANGES = sql.SQL(
    sql.SQL(
        "string_agg(concat_ws(' ', epoch, operator_id, shares_raw, pending_raw,"
        " withdrawing_shares_raw, unlocking_raw, storage_fee_deposit_raw,"
        " coalesce(on_hold_raw::text, ''), coalesce(({leaving})::text, ''),"
        " coalesce(({paid_in})::text, ''), coalesce(withdrawn_shares_raw::text, ''),"
        " coalesce(({paid_out})::text, ''), coalesce(({tax})::text, '')),"
        " ',' ORDER BY epoch, operator_id)"
    )
    .format(
        leaving=leaving("position", OWN_PRICE, REFUND),
        paid_in=PAID_IN,
        paid_out=PAID_OUT,
        tax=TAX,
    )
    .as_string()
)

PAST = 64
"""How many times as long the parts are of which only changes come."""


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


@dataclass(frozen=True, slots=True)
class Stretch:
    """Epochs, both ends with them, at which an account has a position with an operator."""

    operator_id: int
    begun: int
    until: int


Own = tuple[str, str, str, str]
"""An epoch, an operator, the time in ms and the price, the last two nothing where unknown."""


Change = list[str]
"""An epoch, an operator, what a position is from there on, and what happened in that epoch.

It is shares, pending, withdrawing shares, unlocking, storage fee deposit, on hold and leaving; what
happened is paid in, withdrawn shares, paid out and tax. Decimal texts, nothing where unknown.
"""


async def lives(cursor: Cursor, account: Account) -> list[Stretch]:
    """All its stretches up to the span's last epoch; one ends where its position does, or there."""
    await cursor.execute(LIVES.format(of_account=account.condition()))
    found = []
    async for operator_id, first, ends, beginnings in cursor:
        begun = first
        for until, again in zip(ends or (), beginnings or (), strict=True):
            found.append(Stretch(operator_id, begun, until))
            begun = again
        if begun is not None and begun <= account.span.last:
            found.append(Stretch(operator_id, begun, account.span.last))
    return found


async def parts(
    cursor: Cursor, account: Account, stretches: Sequence[Stretch], rows: int
) -> AsyncGenerator[tuple[list[Change], Iterator[Own]], None]:
    """The changes of some epochs and what each of these has of its own, so many rows at most.

    Where the span begins in the middle of a position, changes come first that were before it.
    """
    span = account.span
    told = [one for one in stretches if one.until >= span.first]
    if not told:
        return
    first = max(span.first, min(one.begun for one in told))
    operators = sorted({one.operator_id for one in told})
    size = max(1, rows // len(operators))
    copy = PARTS.format(
        kept=sql.SQL("NOT MATERIALIZED" if span.sample is None else "MATERIALIZED"),
        wanted=account.epochs(),
        changes=CHANGES,
        own=OWN,
        stretches=sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(one.operator_id, one.begun, one.until) for one in told
        ),
        of_account=account.condition(),
        chosen=chosen(tuple(operators)),
        within=WITHIN.format(first=first),
        earliest=(min(one.begun for one in stretches) - first) // (PAST * size),
        first=first,
        last=min(span.last, max(one.until for one in told)),
        size=size,
        past=PAST * size,
    )
    async with cursor.copy(copy) as found:
        found.set_types(["text"] * 5)
        async for *own, changes in found.rows():
            columns = (column.split(" ") for column in own if column is not None)
            yield (
                [change.split(" ") for change in changes.split(",")] if changes else [],
                zip(*columns, strict=True),
            )
