"""What an import writes to our tables and reads of them, a window in one transaction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO

import orjson
import polars as pl
from psycopg import Connection, Cursor, sql
from psycopg.types.json import Jsonb

from operator_prices import store
from operator_prices.epochs.counts import COUNTED
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row, Snapshot

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

ENDED = """
INSERT INTO legacy_hashes AS old (epoch, end_block, end_hash)
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[])
  ON CONFLICT (epoch) DO UPDATE SET (end_block, end_hash, chain_hash, compared_at)
    = ROW (excluded.end_block, excluded.end_hash, NULL, NULL)
  WHERE (old.end_block, old.end_hash) IS DISTINCT FROM (excluded.end_block, excluded.end_hash)
"""

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

FOREIGN = """
INSERT INTO legacy_foreign (domain_id, operator_id, epoch)
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING
"""

UNCOUNTED = """
SELECT epoch FROM epochs
  WHERE epoch = ANY (%s) AND source = 'chain' AND data #>> '{deposits,count}' IS NULL
"""

LEND_COUNTS = """
UPDATE epochs SET data = data || %s
  WHERE epoch = %s AND end_block = %s AND lower(end_hash) = lower(%s)
"""
"""What a snapshot of the same block has counted is a fact that the chain's row lacks."""

PASSED_ON = """
INSERT INTO normalized_epochs AS old (epoch, data, domain_id, complete)
  SELECT epoch, data, domain_id, complete FROM normal
  ON CONFLICT (epoch) DO UPDATE
    SET (data, domain_id, complete) = ROW (excluded.data, excluded.domain_id, excluded.complete)
    WHERE (old.data, old.domain_id, old.complete)
      IS DISTINCT FROM (excluded.data, excluded.domain_id, excluded.complete)
"""

PART = 4 * 2**20
"""Characters of raw data that are written at a time."""


def is_done(database: Connection, source: str, window: EpochWindow, fingerprint: str) -> bool:
    """Whether the window is imported as it is now, and its epochs are still there."""
    done = database.execute(
        "SELECT FROM legacy_windows AS done WHERE (source, first_epoch, fingerprint)"
        " = (%s, %s, %s) AND epochs <= (SELECT count(*) FROM raw_epochs"
        "   WHERE epoch BETWEEN %s AND %s AND raw_epochs.source IS NOT NULL)",
        [source, window.first, fingerprint, window.first, window.last],
    )
    return done.fetchone() is not None


def mark_done(
    cursor: Cursor, source: str, window: EpochWindow, fingerprint: str, epochs: int
) -> None:
    """Remember that the window is imported, as the source has it now."""
    cursor.execute(
        "INSERT INTO legacy_windows (source, first_epoch, fingerprint, epochs)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (source, first_epoch) DO UPDATE"
        " SET (fingerprint, epochs, at) = ROW (excluded.fingerprint, excluded.epochs, now())",
        [source, window.first, fingerprint, epochs],
    )


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


def in_parts(rows: Iterable[Row]) -> Iterator[dict[int, str]]:
    """The data of rows by epoch, a few megabytes at a time."""
    part: dict[int, str] = {}
    size = 0
    latest = None
    for row in rows:
        if row.epoch == latest:
            continue  # the first is the one that was read
        latest = row.epoch
        text = row.data.decode(errors="replace") if isinstance(row.data, bytes) else str(row.data)
        part[row.epoch] = text
        size += len(text)
        if size > PART:
            yield part
            part, size = {}, 0
    yield part


def keep_rows(
    cursor: Cursor,
    snapshots: Sequence[Snapshot],
    documents: Sequence[tuple[str, bool]],
    parts: Iterable[Mapping[int, str]],
    domain_id: int,
) -> int:
    """Keep the rows that were understood, with the data that `parts` have for them."""
    known = {
        snapshot.epoch: (snapshot, complete)
        for snapshot, (_, complete) in zip(snapshots, documents, strict=True)
    }
    changed = 0
    for part in parts:
        rows = [
            (
                epoch,
                snapshot.end_block,
                snapshot.end_hash,
                snapshot.timestamp,
                data,
                domain_id,
                "legacy",
                snapshot.spec_version,
                snapshot.transition_block,
                snapshot.transition_hash,
                complete,
            )
            for epoch, data in part.items()
            if epoch in known
            for snapshot, complete in (known[epoch],)
        ]
        frame = pl.DataFrame(rows, schema=EPOCHS.columns, orient="row")
        changed += store.write(cursor.connection, EPOCHS, frame)
    return changed


def keep_beside(
    cursor: Cursor,
    snapshots: Sequence[Snapshot],
    documents: Sequence[tuple[str, bool]],
    domain_id: int,
) -> int:
    """Keep the normal form of rows whose own data stays as it is."""
    cursor.execute("CREATE TEMP TABLE normal (LIKE normalized_epochs) ON COMMIT DROP")
    rows = pl.DataFrame(
        {
            "epoch": [snapshot.epoch for snapshot in snapshots],
            "data": [text for text, _ in documents],
            "domain_id": [domain_id] * len(snapshots),
            "complete": [complete for _, complete in documents],
        },
        schema={
            "epoch": pl.Int64,
            "data": pl.String,
            "domain_id": pl.Int64,
            "complete": pl.Boolean,
        },
    )
    with cursor.copy("COPY normal FROM STDIN (FORMAT csv)") as copy:
        copy.write(rows.write_csv(include_header=False))
    return cursor.execute(PASSED_ON).rowcount


def drop_beside(cursor: Cursor, epochs: Iterable[int]) -> None:
    """Forget the normal form of rows whose data is in the normal form itself."""
    cursor.execute("DELETE FROM normalized_epochs WHERE epoch = ANY (%s)", [[*epochs]])


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
    cursor.execute(WITHHOLD, _columns(withheld, 2))
    return store.write(cursor.connection, OPERATOR_SHARE_PRICES, frame)


def leave_out(cursor: Cursor, reader: Reader) -> int:
    """Remember what is of other domains; return how much of it was not known before."""
    operators = {(domain, operator, -1) for domain, operator in reader.operators.foreign}
    return cursor.execute(FOREIGN, _columns(reader.prices.foreign | operators, 3)).rowcount


def remember_ends(cursor: Cursor, snapshots: Iterable[Snapshot]) -> None:
    ends = [(snapshot.epoch, snapshot.end_block, snapshot.end_hash) for snapshot in snapshots]
    cursor.execute(ENDED, _columns(ends, 3))


def lend_counts(
    cursor: Cursor, snapshots: Sequence[Snapshot], documents: Sequence[tuple[str, bool]]
) -> None:
    """Give rows that were read from a node the counts of a snapshot of the same block."""
    epochs = [snapshot.epoch for snapshot in snapshots]
    lacking = {epoch for (epoch,) in cursor.execute(UNCOUNTED, [epochs])}
    for snapshot, (text, _) in zip(snapshots, documents, strict=True):
        if snapshot.epoch in lacking:
            document = orjson.loads(text)
            counts = {
                name: {"count": section["count"]}
                for name in COUNTED
                if (section := document.get(name)) and section.get("count") is not None
            }
            end = [snapshot.epoch, snapshot.end_block, snapshot.end_hash]
            cursor.execute(LEND_COUNTS, [Jsonb(counts), *end])


def _columns(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as one list per column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def complete_documents(cursor: Cursor, epochs: Sequence[int], domain_id: int) -> None:
    if not epochs:
        return
    for table, ours in (("epochs", REDUCED), ("normalized_epochs", "true")):
        cursor.execute(
            sql.SQL(PRICE_SECTION).format(table=sql.Identifier(table), ours=sql.SQL(ours)),
            {"epochs": list(epochs), "domain": domain_id},
        )


def left_out(database: Connection) -> int:
    """How many prices and operators of other domains imports have left out, each counted once."""
    row = database.execute("SELECT count(*) FROM legacy_foreign").fetchone()
    return int(row[0]) if row else 0
