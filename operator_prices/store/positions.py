"""Positions of nominators: made of what was read, window by window, in whatever order."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl
from psycopg import Connection, Cursor, sql

from operator_prices.chain import Entry, Pair, Prices, histories_of
from operator_prices.epochs import nominators
from operator_prices.epochs.positions import BEFORE_ALL, Told, positions
from operator_prices.epochs.tables import NOMINATOR_POSITIONS, RAW_NOMINATORS
from operator_prices.epochs.windows import EpochWindow
from operator_prices.store.database import long_work
from operator_prices.store.nominators import COLUMNS, ONE_AT_A_TIME, STATE
from operator_prices.store.rows import apply, rows_of, stage

EPOCHS = """
SELECT epoch, source, EXISTS (
    SELECT FROM nominator_epochs AS before WHERE before.epoch = (
      SELECT max(candidate) FROM generate_series(
        (SELECT max(epoch) FROM nominator_epochs WHERE epoch < told.epoch), told.epoch - 1)
        AS candidate
      WHERE NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = candidate)))
FROM nominator_epochs AS told
WHERE epoch BETWEEN %(first)s AND (
  SELECT coalesce(min(epoch), %(last)s) FROM nominator_epochs WHERE epoch > %(last)s)
ORDER BY epoch
"""
"""The epochs of a window and the first one after it, whose rows depend on the window's last."""

PREVIOUS = "SELECT max(epoch) FROM nominator_epochs WHERE epoch < %s"

OPERATORS = """
SELECT operator_id, since, share.shares_raw = 0 AND share.stake_raw = 0, since = 0 OR EXISTS (
    SELECT FROM raw_epochs AS before WHERE complete AND before.epoch = (
      SELECT max(candidate) FROM generate_series(
        (SELECT max(epoch) FROM epochs WHERE epoch < since AND source IS NOT NULL), since - 1)
        AS candidate
      WHERE NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = candidate))
    AND NOT EXISTS (
      SELECT FROM jsonb_array_elements(data -> 'operators' -> 'entries') AS there
      WHERE there -> 'key' ->> 0 = operator_id::text)),
  deregistered, takes_tax
FROM (
  SELECT operator_id, min(epoch) AS since,
         min(epoch) FILTER (WHERE status = 'Deregistered') AS deregistered,
         bool_or(nomination_tax > 0) AS takes_tax
  FROM operator_shares WHERE epoch <= %s GROUP BY operator_id) AS seen
JOIN operator_shares AS share USING (operator_id) WHERE share.epoch = since
"""
"""Where each operator is seen first, whether it has nothing there yet, and whether it begins there:
the epoch before, passing over those that are skipped, is known and has no such operator."""

OWNERS = """
SELECT operator_id, nominator FROM operators_metadata JOIN nominator_accounts ON owner = address
"""

RELEVANT = sql.SQL(
    "SELECT {columns} FROM ({state}) AS state WHERE pending_epoch >= {previous}"
    " OR withdrawing_epoch IS NOT NULL OR (operator_id, nominator) IN ("
    "   SELECT operator_id, nominator FROM raw_nominators WHERE epoch = ANY ({epochs}))"
    " UNION ALL SELECT {columns} FROM raw_nominators WHERE epoch = ANY ({epochs})"
    " ORDER BY operator_id, nominator, epoch"
)
"""What changes in some epochs, or may by what the chain converts, and what was there before."""

PRICES = """
SELECT wanted.operator_id, wanted.epoch, coalesce(
  CASE WHEN price.source <> 'derived' THEN price.share_price_perq END,
  CASE WHEN price.epoch IS NULL THEN (
    SELECT (told ->> 'value')::numeric
    FROM epochs CROSS JOIN LATERAL
      jsonb_array_elements(data -> 'operatorEpochSharePrice' -> 'entries') AS told
    WHERE epochs.epoch = wanted.epoch AND epochs.source = 'chain'
      AND told -> 'key' ->> 0 = wanted.operator_id::text) END)
FROM unnest(%s::integer[], %s::integer[]) AS wanted (operator_id, epoch)
LEFT JOIN operator_share_prices AS price
  ON price.epoch = wanted.epoch AND price.operator_id = wanted.operator_id
"""
"""Stored prices: of the table, or of the raw epoch where its window has not been parsed yet."""

GONE = """
DELETE FROM nominator_positions AS old WHERE epoch = ANY (%s) AND NOT EXISTS (
  SELECT FROM incoming AS new WHERE (new.operator_id, new.nominator, new.epoch)
    = (old.operator_id, old.nominator, old.epoch))
RETURNING operator_id, nominator
"""

LATER = """
UPDATE incoming AS new SET until_epoch = (
  SELECT min(epoch) FROM nominator_positions AS later
  WHERE (later.operator_id, later.nominator) = (new.operator_id, new.nominator)
    AND later.epoch > %(last)s)
WHERE until_epoch IS NULL AND EXISTS (SELECT FROM nominator_positions WHERE epoch > %(last)s)
"""
"""Until when the last rows of pairs hold that are to be written."""

STRONGER = """
UPDATE nominator_positions AS old SET until_epoch = new.until_epoch FROM incoming AS new
WHERE (old.operator_id, old.nominator, old.epoch) = (new.operator_id, new.nominator, new.epoch)
  AND old.until_epoch IS DISTINCT FROM new.until_epoch
"""
"""Until when the rows hold that were not written since they are stronger."""

BEFORE = """
WITH new AS MATERIALIZED (
  SELECT operator_id, nominator, since, (SELECT max(epoch) FROM nominator_positions AS earlier
      WHERE (earlier.operator_id, earlier.nominator) = (first.operator_id, first.nominator)
        AND earlier.epoch < %(first)s) AS epoch
  FROM (SELECT operator_id, nominator, min(epoch) AS since FROM incoming
    GROUP BY operator_id, nominator) AS first)
UPDATE nominator_positions AS old SET until_epoch = new.since FROM new
WHERE (old.operator_id, old.nominator, old.epoch) = (new.operator_id, new.nominator, new.epoch)
  AND old.until_epoch IS DISTINCT FROM new.since
"""
"""And until when those hold that were there before the first of each pair."""

UNTIL = """
UPDATE nominator_positions AS old SET until_epoch = new.until_epoch
FROM (
  SELECT operator_id, nominator, epoch,
         lead(epoch) OVER (PARTITION BY operator_id, nominator ORDER BY epoch) AS until_epoch
  FROM nominator_positions WHERE (operator_id, nominator) IN (
    SELECT * FROM unnest(%s::integer[], %s::text[]))) AS new
WHERE (old.operator_id, old.nominator, old.epoch) = (new.operator_id, new.nominator, new.epoch)
  AND old.until_epoch IS DISTINCT FROM new.until_epoch
"""


def refresh_positions(connection: Connection, window: EpochWindow) -> int:
    """Make the positions of `window` say what was read; return how many rows changed.

    Those of the first epoch after it are made anew, too: whether something has changed there
    depends on what was before, and windows are read in any order.
    """
    with long_work(connection), connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
        epochs = cursor.execute(EPOCHS, {"first": window.first, "last": window.last}).fetchall()
        if not epochs:
            return 0
        told, entries = _told(cursor, epochs)
        return _write(cursor, list(told.epochs), positions(entries, told))


def _told(
    cursor: Cursor, epochs: list[tuple[int, str, bool]]
) -> tuple[Told, dict[Pair, list[tuple[int, Entry]]]]:
    first, last = epochs[0][0], epochs[-1][0]
    row = cursor.execute(PREVIOUS, [first]).fetchone()
    previous = BEFORE_ALL if first == 0 else row[0] if row else None
    raw = _raw(cursor, [epoch for epoch, _, _ in epochs], previous)
    operators = _operators(cursor, last)
    at_once = raw.filter(
        (pl.col("pending_epoch") == pl.col("epoch")) & pl.col("pending_price_perq").is_not_null()
    )
    told = Told(
        epochs={epoch: source for epoch, source, _ in epochs},
        previous=previous,
        unconnected=frozenset(
            epoch for epoch, _, connected in epochs if not (connected or epoch == 0)
        ),
        prices=_prices(cursor, raw),
        first_epochs=operators.begun,
        registered=operators.registered | {*at_once.select("operator_id", "epoch").rows()},
        deregistered=operators.deregistered,
        taxed_owners=frozenset(
            pair for pair in cursor.execute(OWNERS).fetchall() if pair[0] in operators.taxed
        ),
    )
    return told, histories_of(nominators.entries(raw))


def _raw(cursor: Cursor, epochs: list[int], previous: int | None) -> pl.DataFrame:
    before = BEFORE_ALL if previous is None else previous
    query = RELEVANT.format(
        columns=COLUMNS,
        state=STATE.format(columns=COLUMNS, epoch=sql.Literal(before)),
        previous=sql.Literal(before),
        epochs=sql.Literal(epochs),
    )
    return rows_of(cursor, query, RAW_NOMINATORS)


class Operators(NamedTuple):
    begun: dict[int, int]
    """At which epoch each is there first, of those of which that is known."""
    registered: frozenset[tuple[int, int]]
    """Each with the epoch of its registration, where that has been seen."""
    deregistered: dict[int, int]
    """From which epoch on each is, of those that have left."""
    taxed: frozenset[int]


def _operators(cursor: Cursor, until: int) -> Operators:
    seen = cursor.execute(OPERATORS, [until]).fetchall()
    begun = {operator: since for operator, since, _, begins, *_ in seen if begins}
    return Operators(
        begun,
        frozenset(
            (operator, since)
            for operator, since, is_new, *_ in seen
            if is_new and operator in begun
        ),
        {operator: left for operator, *_, left, _ in seen if left is not None},
        frozenset(operator for operator, *_, takes_tax in seen if takes_tax),
    )


def _prices(cursor: Cursor, raw: pl.DataFrame) -> Prices:
    told: dict[tuple[int, int | None], int] = {}
    before = raw.filter(pl.col("epoch") > 0).select("operator_id", pl.col("epoch") - 1)
    wanted = set(before.unique().rows())  # at which what was paid in at their close became shares
    for of, price in (
        ("pending_epoch", "pending_price_perq"),
        ("withdrawing_epoch", "withdrawing_price_perq"),
    ):
        for operator, epoch, known in raw.select("operator_id", of, price).drop_nulls(of).rows():
            wanted.add((operator, epoch))
            if known is not None:
                told[operator, epoch] = known
    operators, epochs = [one for one, _ in wanted], [epoch for _, epoch in wanted]
    stored = cursor.execute(PRICES, [operators, epochs]).fetchall()
    return told | {
        (operator, epoch): int(price) for operator, epoch, price in stored if price is not None
    }


def _write(cursor: Cursor, epochs: Sequence[int], rows: pl.DataFrame) -> int:
    following = pl.col("epoch").shift(-1).over("operator_id", "nominator")
    rows = rows.with_columns(until_epoch=following)
    stage(cursor, NOMINATOR_POSITIONS, rows)
    gone = cursor.execute(GONE, [epochs]).fetchall()
    cursor.execute(LATER, {"last": epochs[-1]})
    changed = apply(cursor, NOMINATOR_POSITIONS, rows)
    if changed < rows.height:
        cursor.execute(STRONGER)
    cursor.execute(BEFORE, {"first": epochs[0]})
    cursor.execute("DROP TABLE incoming")
    mend_spans(cursor, gone)
    return changed + len(gone)


def mend_spans(cursor: Cursor, pairs: Iterable[Pair]) -> None:
    """Let each row of some pairs hold until their next one."""
    known = sorted(set(pairs))
    if known:
        cursor.execute(UNTIL, [[one for one, _ in known], [account for _, account in known]])
