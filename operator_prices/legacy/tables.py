"""What an import writes to our tables and reads of them, a window in one transaction."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import orjson
import polars as pl
from psycopg import Connection, Cursor
from psycopg.types.json import Jsonb

from operator_prices import store
from operator_prices.epochs.counts import COUNTED
from operator_prices.epochs.tables import EPOCHS
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row, Snapshot

FULLER = """
SELECT epoch FROM raw_epochs
  WHERE epoch = ANY (%s) AND source IS NOT NULL AND NOT data ? 'generation'
"""
"""Epochs of which more is known than the first generation tells."""

ENDED = """
INSERT INTO legacy_hashes AS old (epoch, end_block, end_hash)
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[])
  ON CONFLICT (epoch) DO UPDATE SET (end_block, end_hash, chain_hash, compared_at)
    = ROW (excluded.end_block, excluded.end_hash, NULL, NULL)
  WHERE (old.end_block, old.end_hash) IS DISTINCT FROM (excluded.end_block, excluded.end_hash)
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


def fuller_epochs(cursor: Cursor, epochs: Collection[int]) -> set[int]:
    return {epoch for (epoch,) in cursor.execute(FULLER, [sorted(epochs)])}


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


def leave_out(cursor: Cursor, reader: Reader) -> int:
    """Remember what is of other domains; return how much of it was not known before."""
    operators = {(domain, operator, -1) for domain, operator in reader.operators.foreign}
    return cursor.execute(FOREIGN, columns_of(reader.prices.foreign | operators, 3)).rowcount


def remember_ends(cursor: Cursor, snapshots: Iterable[Snapshot]) -> None:
    ends = [
        (snapshot.epoch, snapshot.end_block, snapshot.end_hash)
        for snapshot in snapshots
        if snapshot.end_hash is not None
    ]
    cursor.execute(ENDED, columns_of(ends, 3))


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


def columns_of(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as one list per column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def left_out(database: Connection) -> int:
    """How many prices and operators of other domains imports have left out, each counted once."""
    row = database.execute("SELECT count(*) FROM legacy_foreign").fetchone()
    return int(row[0]) if row else 0
