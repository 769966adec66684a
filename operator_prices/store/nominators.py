"""What nominators have, as it was read: kept where it changes, so that it is known in between."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl
from psycopg import Connection, Cursor, sql

from operator_prices.chain import (
    NOMINATOR_LISTING,
    TOTALS,
    Entry,
    EpochStates,
    Nominators,
    Pair,
    entries_of,
)
from operator_prices.epochs import nominators
from operator_prices.epochs.nominators import QUARANTINED
from operator_prices.epochs.tables import NOMINATOR_EPOCHS, RAW_NOMINATORS
from operator_prices.epochs.windows import EpochWindow
from operator_prices.store.database import long_work
from operator_prices.store.rows import apply, insert, rows_of, stage

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('operator_prices nominators'))"
"""Windows are read in any order and by several runs: each looks at what the others have left."""

VALUES = sql.SQL(", ").join(
    sql.Identifier(name)
    for name in RAW_NOMINATORS.values
    if name not in ("pending_price_perq", "withdrawing_price_perq", "source")
)

COLUMNS = sql.SQL(", ").join(map(sql.Identifier, RAW_NOMINATORS.columns))

THERE = sql.SQL("NOT (shares_raw IS NULL AND unlocking IS NULL AND on_hold_raw IS NULL)")

STATE = sql.SQL(
    "WITH RECURSIVE pair AS ("
    " (SELECT operator_id, nominator FROM raw_nominators ORDER BY operator_id, nominator LIMIT 1)"
    " UNION ALL SELECT next.* FROM pair CROSS JOIN LATERAL ("
    "   SELECT operator_id, nominator FROM raw_nominators AS other"
    "   WHERE (other.operator_id, other.nominator) > (pair.operator_id, pair.nominator)"
    "   ORDER BY operator_id, nominator LIMIT 1) AS next)"
    " SELECT newest.* FROM pair CROSS JOIN LATERAL (SELECT {columns} FROM raw_nominators AS stored"
    "   WHERE stored.operator_id = pair.operator_id AND stored.nominator = pair.nominator"
    "   AND epoch <= {epoch} ORDER BY epoch DESC LIMIT 1) AS newest"
)
"""What everybody has at an epoch: the newest row of each pair up to there.

From pair to pair by the index, since most rows are of the past.
"""

CHANGES = sql.SQL(
    "INSERT INTO raw_nominators ({columns}) SELECT {columns} FROM ("
    " SELECT {epoch} AS epoch, operator_id, nominator, {values}, pending_price_perq,"
    "   withdrawing_price_perq, source FROM {now} AS now WHERE {there} OR EXISTS ("
    "     SELECT FROM before WHERE"
    "       (now.operator_id, now.nominator) = (before.operator_id, before.nominator))"
    " UNION ALL"
    " SELECT {epoch}, operator_id, nominator, {nothing}, NULL, NULL, {source} FROM before"
    "   WHERE {there} AND NOT EXISTS (SELECT FROM {now} AS now WHERE"
    "     (now.operator_id, now.nominator) = (before.operator_id, before.nominator))"
    ") AS fresh WHERE NOT EXISTS ("
    " SELECT FROM before WHERE (before.operator_id, before.nominator)"
    "   = (fresh.operator_id, fresh.nominator)"
    "   AND ({before_values}) IS NOT DISTINCT FROM ({fresh_values}))"
)
"""The rows by which all that is there now differs from what was there before."""

GONE = """
DELETE FROM raw_nominators AS old WHERE epoch = ANY (%s) AND NOT EXISTS (
  SELECT FROM incoming AS new WHERE (new.epoch, new.operator_id, new.nominator)
    = (old.epoch, old.operator_id, old.nominator))
"""

PREVIOUS = """
SELECT known.epoch, epochs.spec_version FROM nominator_epochs AS known JOIN epochs
    ON epochs.epoch = known.epoch AND lower(epochs.end_hash) = lower(known.end_hash)
  WHERE known.source = 'chain' AND known.epoch = (
    SELECT max(candidate) FROM generate_series(
      (SELECT coalesce(max(epoch), 0) FROM nominator_epochs WHERE epoch < %(epoch)s),
      %(epoch)s - 1) AS candidate
    WHERE NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = candidate))
"""
"""The epoch before one, passing over those that are skipped, where it is known, and its runtime."""

FOLLOWING = """
SELECT known.epoch FROM nominator_epochs AS known WHERE listed AND known.epoch = (
    SELECT min(candidate) FROM generate_series(%(epoch)s + 1,
      (SELECT min(epoch) FROM nominator_epochs WHERE epoch > %(epoch)s)) AS candidate
    WHERE NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = candidate))
"""
"""The epoch after one, where all were listed anew because nobody knew the epoch before."""

DISPROVED = """
UPDATE nominator_epochs SET complete = false
FROM unnest(%s::integer[]) AS disproved
WHERE source = 'chain' AND complete AND epoch <= disproved AND epoch > (
  SELECT coalesce(max(epoch), -1) FROM nominator_epochs
  WHERE listed AND source = 'chain' AND epoch < disproved)
"""
"""Epochs up to a listing that has shown something else, since the listing before: in one of them it
was missed."""

DOUBTED = """
UPDATE nominator_epochs SET complete = false
WHERE source = 'chain' AND complete AND epoch = (
  SELECT min(epoch) FROM nominator_epochs WHERE listed AND epoch > %(last)s)
AND EXISTS (SELECT FROM quarantine AS told
  WHERE told.epoch = nominator_epochs.epoch AND item = %(item)s)
"""
"""A listing that has shown something else than was followed up to it before."""

FORGET = """
DELETE FROM quarantine WHERE source = %s AND epoch = ANY (%s) AND item = ANY (%s)
RETURNING epoch, item, storage_key, block_hash
"""

TOLD = """
SELECT (entry -> 'key' ->> 0)::bigint, (entry -> 'value' ->> 'depositsInEpoch')::numeric,
       (entry -> 'value' ->> 'withdrawalsInEpoch')::numeric,
       (entry -> 'value' ->> 'totalStorageFeeDeposit')::numeric,
       entry -> 'value' ->> 'partialStatus'
FROM epochs CROSS JOIN LATERAL jsonb_array_elements(data -> 'operators' -> 'entries') AS entry
WHERE epoch = %s
"""

LACKING = """
SELECT epoch FROM epochs AS stored
WHERE epoch BETWEEN %s AND %s AND source = 'chain' AND NOT EXISTS (
  SELECT FROM nominator_epochs AS known
  WHERE known.epoch = stored.epoch AND known.source = 'chain' AND known.complete)
ORDER BY epoch
"""


def lacking_nominators(connection: Connection, window: EpochWindow, until: int) -> list[int]:
    """The stored epochs of `window` up to `until` whose nominators are not yet kept whole."""
    rows = connection.execute(LACKING, [window.first, min(window.last, until)])
    return [epoch for (epoch,) in rows]


def all_lacking_nominators(connection: Connection, until: int) -> list[int]:
    """The stored epochs up to `until` whose nominators are not yet kept whole."""
    return [epoch for (epoch,) in connection.execute(LACKING, [0, until])]


def nominators_before(connection: Connection, epoch: int) -> Nominators | None:
    """What all nominators have at the epoch before one; None where nobody knows."""
    row = connection.execute(PREVIOUS, {"epoch": epoch}).fetchone()
    if row is None:
        return None
    previous, version = row
    totals = connection.execute(TOLD, [previous]).fetchall()
    return Nominators(previous, version, _entries_at(connection, previous), _totals(totals))


def entries_at(connection: Connection, epoch: int) -> dict[Pair, Entry]:
    """What everybody was last known to have up to an epoch."""
    return entries_of(_entries_at(connection, epoch))


def _entries_at(connection: Connection, epoch: int) -> pl.DataFrame:
    state = sql.SQL("SELECT * FROM ({}) AS state WHERE {}").format(
        STATE.format(columns=COLUMNS, epoch=sql.Literal(epoch)), THERE
    )
    with connection.cursor() as cursor:
        return nominators.entries(rows_of(cursor, state, RAW_NOMINATORS))


def keep_nominators(connection: Connection, states: EpochStates, *, source: str = "chain") -> int:
    """Keep what was read of nominators; return how many entries have changed.

    Rows are kept where an entry is another than before, whatever the order in which windows
    are read: beside one that was read already, the first rows of that one are put right.
    """
    epochs = list(states.nominator_epochs["epoch"])
    if not epochs:
        return 0
    with long_work(connection), connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
        following = cursor.execute(FOLLOWING, {"epoch": epochs[-1]}).fetchone()
        if following is not None:
            _hold(cursor, "seam", following[0])
        changed = _keep(cursor, epochs, nominators.raw_nominators(states.nominators, source))
        for epoch in states.nominator_epochs.filter("whole")["epoch"]:
            _difference(cursor, epoch, source)
        if following is not None:
            _mend(cursor, following[0], source)
        known = states.nominator_epochs.drop("whole").with_columns(source=pl.lit(source))
        _cover(cursor, known)
        insert(cursor, "nominator_accounts", states.addresses)
        if changed:
            cursor.execute(DOUBTED, {"last": epochs[-1], "item": NOMINATOR_LISTING})
        _put_away(cursor, epochs, states.nominators_quarantined, source)
        return changed


def _keep(cursor: Cursor, epochs: Sequence[int], rows: pl.DataFrame) -> int:
    stage(cursor, RAW_NOMINATORS, rows)
    changed = cursor.execute(GONE, [epochs]).rowcount
    changed += apply(cursor, RAW_NOMINATORS, rows)
    cursor.execute("DROP TABLE incoming")
    return changed


def _put_away(cursor: Cursor, epochs: Sequence[int], misfits: pl.DataFrame, source: str) -> None:
    """Keep what does not fit; what a listing shows for the first time has epochs read again.

    Where they were read again and it shows the same of somebody, reading does not find it: what is
    listed holds from there on.
    """
    known = set(cursor.execute(FORGET, [source, epochs, list(QUARANTINED)]).fetchall())
    insert(cursor, "quarantine", misfits, source=source)
    told = misfits.filter(pl.col("item") == NOMINATOR_LISTING)
    new = set(told.select("epoch", "item", "storage_key", "block_hash").rows()) - known
    cursor.execute(DISPROVED, [sorted({epoch for epoch, *_ in new})])


def _cover(cursor: Cursor, epochs: pl.DataFrame) -> None:
    stage(cursor, NOMINATOR_EPOCHS, epochs)
    apply(cursor, NOMINATOR_EPOCHS, epochs)
    cursor.execute("DROP TABLE incoming")


def _hold(cursor: Cursor, name: str, epoch: int) -> None:
    """What everybody has at an epoch, for the time of the transaction."""
    cursor.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS {}").format(
            sql.Identifier(name), STATE.format(columns=COLUMNS, epoch=sql.Literal(epoch))
        )
    )


def _difference(cursor: Cursor, epoch: int, source: str) -> None:
    """Of a listing only what differs from what is known of the epochs before."""
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE listing ON COMMIT DROP AS SELECT * FROM raw_nominators"
            " WHERE epoch = {}"
        ).format(sql.Literal(epoch))
    )
    _replace(cursor, epoch, "listing", source)


def _mend(cursor: Cursor, epoch: int, source: str) -> None:
    """Let an epoch say what it said, by what differs from what is known before it by now."""
    _replace(cursor, epoch, "seam", source)


def _replace(cursor: Cursor, epoch: int, now: str, source: str) -> None:
    cursor.execute("DELETE FROM raw_nominators WHERE epoch = %s", [epoch])
    cursor.execute("DROP TABLE IF EXISTS before")
    _hold(cursor, "before", epoch - 1)
    values = [name for name in RAW_NOMINATORS.values if "price" not in name and name != "source"]

    def of(table: str) -> sql.Composable:
        return sql.SQL(", ").join(sql.Identifier(table, name) for name in values)

    cursor.execute(
        CHANGES.format(
            columns=COLUMNS,
            values=VALUES,
            epoch=sql.Literal(epoch),
            now=sql.Identifier(now),
            nothing=sql.SQL(", ").join([sql.SQL("NULL")] * len(values)),
            source=sql.Literal(source),
            there=THERE,
            before_values=of("before"),
            fresh_values=of("fresh"),
        )
    )


def _totals(rows: Sequence[tuple[Decimal | str | None, ...]]) -> pl.DataFrame:
    whole = [[int(one) if isinstance(one, Decimal) else one for one in row] for row in rows]
    return pl.DataFrame(whole, schema=TOTALS, orient="row")
