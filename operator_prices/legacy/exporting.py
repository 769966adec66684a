"""The way out: the raw epochs as a SQLite file of the old layout."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
from psycopg import Connection

from operator_prices.errors import ExplainedError

LAYOUT = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp INTEGER NOT NULL,
  data TEXT NOT NULL,
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_epochs_epoch ON epochs(epoch);
CREATE INDEX idx_epochs_timestamp ON epochs(timestamp);
"""

HOMELESS = """
SELECT coalesce(
         (SELECT min(epoch) FROM epochs WHERE epochs.epoch > price.epoch),
         (SELECT max(epoch) FROM epochs)) AS told_in,
       price.epoch, operator_id, share_price_perq::text,
       coalesce((SELECT domain_id FROM chain_identity), (SELECT max(domain_id) FROM raw_epochs), 0)
  FROM operator_share_prices AS price
  WHERE source <> 'derived' AND NOT EXISTS (
    SELECT FROM epochs WHERE epochs.epoch = price.epoch)
  ORDER BY 1, 2, 3
"""
"""Prices whose own epoch has no row: as in the old system, a later snapshot tells of them."""


class ExportError(ExplainedError):
    """An export that cannot be made."""


def export(connection: Connection, file: Path) -> int:
    """Write the raw epochs to `file`; return how many. The file appears when it is whole.

    Raises `ExportError` if there is one already.
    """
    if file.exists():
        raise ExportError(f"{file} exists already: name another file, or move that one away.")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(part)) as target, target:
            target.executescript(LAYOUT)
            written = target.executemany(
                "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
                " VALUES (?, ?, ?, ?, ?)",
                _rows(connection),
            ).rowcount
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return max(written, 0)


def _rows(connection: Connection) -> Iterator[tuple[int, int, str, int, str]]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        homeless: dict[int, list[dict[str, object]]] = {}
        for told_in, epoch, operator, price, domain in connection.execute(HOMELESS):
            entry = {"key": [str(operator), f"[{domain},{epoch}]"], "value": price}
            homeless.setdefault(told_in, []).append(entry)
        with connection.cursor("export") as cursor:
            cursor.itersize = 20
            cursor.execute(
                "SELECT epoch, end_block, end_hash, timestamp,"
                " CASE WHEN epoch = ANY (%s) THEN jsonb_set(data, '{operatorEpochSharePrice}',"
                "   jsonb_build_object('entries',"
                "     coalesce(data -> 'operatorEpochSharePrice' -> 'entries', '[]')"
                "     || (%s::jsonb -> epoch::text))) ELSE data END::text"
                " FROM epochs ORDER BY epoch",
                [
                    list(homeless),
                    orjson.dumps({str(epoch): told for epoch, told in homeless.items()}).decode(),
                ],
            )
            yield from cursor
