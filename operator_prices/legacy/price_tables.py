"""What an import remembers of prices, publishes of them, and puts into documents."""

from collections.abc import Iterable, Sequence
from io import StringIO

import polars as pl
from psycopg import Cursor, sql

from operator_prices import store
from operator_prices.epochs.tables import OPERATOR_SHARE_PRICES
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.tables import columns_of

TELL = """
INSERT INTO legacy_prices AS old (epoch, operator_id, share_price_perq, told_in)
  SELECT epoch, operator_id, share_price_perq, told_in FROM told
  ON CONFLICT (epoch, operator_id) DO UPDATE
    SET (share_price_perq, told_in) = ROW (excluded.share_price_perq, excluded.told_in)
    WHERE excluded.share_price_perq IS NOT NULL
      AND (old.share_price_perq IS NULL OR excluded.told_in >= old.told_in)
      AND (old.share_price_perq, old.told_in)
        IS DISTINCT FROM (excluded.share_price_perq, excluded.told_in)
"""
"""The later snapshot wins, whatever the order of the runs; what is no price wins over nothing."""

CHANGED = """
SELECT told.epoch, told.operator_id, told.share_price_perq
  FROM told LEFT JOIN legacy_prices AS old USING (epoch, operator_id)
  WHERE old.epoch IS NULL OR (told.share_price_perq IS NOT NULL
    AND (old.share_price_perq IS NULL OR told.told_in >= old.told_in)
    AND old.share_price_perq IS DISTINCT FROM told.share_price_perq)
  ORDER BY 1, 2
"""

PRICE_SECTION = """
WITH priced AS (
  SELECT epoch,
         coalesce(jsonb_agg(jsonb_build_object(
           'key', jsonb_build_array(
             operator_id::text, format('[%%s,%%s]', %(domain)s::text, epoch)),
           'value', share_price_perq::text) ORDER BY operator_id)
           FILTER (WHERE share_price_perq IS NOT NULL), '[]') AS entries,
         coalesce(jsonb_agg(jsonb_build_object(
           'item', 'OperatorEpochSharePrice', 'reason', 'no snapshot tells it as a price',
           'operatorId', operator_id::text, 'storageKey', NULL) ORDER BY operator_id)
           FILTER (WHERE share_price_perq IS NULL), '[]') AS withheld
  FROM legacy_prices WHERE epoch = ANY (%(epochs)s) GROUP BY epoch
), document AS (
  SELECT epoch, entries, withheld || coalesce((
    SELECT jsonb_agg(misfit) FROM jsonb_array_elements(data -> 'quarantined') AS misfit
    WHERE misfit ->> 'item' <> 'OperatorEpochSharePrice'), '[]') AS misfits
  FROM priced JOIN {table} AS stored USING (epoch)
)
UPDATE {table} AS stored SET
  data = data || jsonb_build_object('operatorEpochSharePrice',
    jsonb_build_object('entries', entries), 'quarantined', misfits),
  complete = misfits = '[]'
FROM document WHERE document.epoch = stored.epoch AND {ours}
"""
"""Put the prices that are known by now into documents that were written before."""

REDUCED = (
    "stored.source = 'legacy' AND NOT EXISTS ("
    "SELECT FROM normalized_epochs AS normal WHERE normal.epoch = stored.epoch)"
)
"""Rows of epochs whose data is in the normal form itself."""

ENDED_ELSEWHERE = """
SELECT epoch FROM legacy_hashes AS told JOIN epochs USING (epoch)
  WHERE epoch = ANY (%s) AND source = 'chain' AND (told.end_block, lower(told.end_hash))
    IS DISTINCT FROM (epochs.end_block, lower(epochs.end_hash))
"""
"""Epochs of which the chain has the word, and whose snapshot is of another block."""

FORGET = """
DELETE FROM operator_share_prices WHERE epoch = ANY (%s) AND source = 'epochs_json'
"""

WITHHOLD = """
DELETE FROM operator_share_prices AS price
  USING unnest(%s::integer[], %s::integer[]) AS told (epoch, operator_id)
  WHERE price.epoch = told.epoch AND price.operator_id = told.operator_id
    AND price.source = 'derived' AND NOT EXISTS (
      SELECT FROM epochs WHERE epochs.epoch = price.epoch AND epochs.source = 'chain')
"""


def tell(cursor: Cursor, reader: Reader) -> list[tuple[int, int, int | None]]:
    """Remember the prices that the window tells; return those that are new or different."""
    cursor.execute("CREATE TEMP TABLE told (LIKE legacy_prices) ON COMMIT DROP")
    with cursor.copy(
        "COPY told (epoch, operator_id, share_price_perq, told_in) FROM STDIN"
    ) as copy:
        text = StringIO()
        for (epoch, operator), (price, told_in) in reader.prices.told.items():
            known = r"\N" if price is None else price
            text.write(f"{epoch}\t{operator}\t{known}\t{told_in}\n")
        copy.write(text.getvalue())
    cursor.execute("ANALYZE told")
    changed = cursor.execute(CHANGED).fetchall()
    cursor.execute(TELL)
    return [
        (epoch, operator, None if price is None else int(price))
        for epoch, operator, price in changed
    ]


def known_prices(cursor: Cursor, window: EpochWindow) -> dict[int, dict[int, int | None]]:
    """By epoch and operator: the prices that are known of the window by now."""
    cursor.execute(
        "SELECT epoch, operator_id, share_price_perq FROM legacy_prices"
        " WHERE epoch BETWEEN %s AND %s",
        [window.first, window.last],
    )
    known: dict[int, dict[int, int | None]] = {}
    for epoch, operator, price in cursor:
        known.setdefault(epoch, {})[operator] = None if price is None else int(price)
    return known


def publish_prices(
    cursor: Cursor,
    changed: Iterable[tuple[int, int, int | None]],
    known: dict[int, dict[int, int | None]],
) -> int:
    """Publish what the snapshots tell, and take back what was derived where they tell no price."""
    told = {(epoch, operator): price for epoch, operator, price in changed}
    for epoch, prices in known.items():
        told |= {(epoch, operator): price for operator, price in prices.items()}
    epochs = sorted({epoch for epoch, _ in told})
    elsewhere = {epoch for (epoch,) in cursor.execute(ENDED_ELSEWHERE, [epochs])}
    cursor.execute(FORGET, [sorted(elsewhere)])
    rows = [
        (epoch, operator, price, "epochs_json")
        for (epoch, operator), price in told.items()
        if price is not None and epoch not in elsewhere
    ]
    frame = pl.DataFrame(rows, schema=OPERATOR_SHARE_PRICES.columns, orient="row")
    withheld = [key for key, price in told.items() if price is None]
    cursor.execute(WITHHOLD, columns_of(withheld, 2))
    return store.write(cursor.connection, OPERATOR_SHARE_PRICES, frame)


def complete_documents(cursor: Cursor, epochs: Sequence[int], domain_id: int) -> None:
    if not epochs:
        return
    for table, ours in (("epochs", REDUCED), ("normalized_epochs", "true")):
        cursor.execute(
            sql.SQL(PRICE_SECTION).format(table=sql.Identifier(table), ours=sql.SQL(ours)),
            {"epochs": list(epochs), "domain": domain_id},
        )
