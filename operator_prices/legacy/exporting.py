"""The way out: the raw epochs in the forms of the old system, which an import reads back."""

import csv
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Literal

import orjson
import polars as pl
from polars.io.plugins import register_io_source
from psycopg import Connection

from operator_prices import store
from operator_prices.errors import ExplainedError

Form = Literal["sqlite", "json", "jsonl", "csv", "parquet"]

Row = tuple[int, int, str | None, int | None, str]
"""The columns of the old table, `data` as JSON text; the first generation may lack two of them."""

COLUMNS = ("epoch", "end_block", "end_hash", "timestamp", "data")

SCHEMA = pl.Schema(
    dict(zip(COLUMNS, (pl.Int64, pl.Int64, pl.String, pl.Int64, pl.String), strict=True))
)

FETCHED = 20
"""Rows at a time."""

LAYOUT = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT,
  timestamp INTEGER,
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


def export(connection: Connection, file: Path, form: Form = "sqlite") -> int:
    """Write the raw epochs to `file`; return how many. The file appears when it is whole.

    Raises `ExportError` if there is one already.
    """
    if file.exists():
        raise ExportError(f"{file} exists already: name another file, or move that one away.")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    written = 0

    def counted() -> Iterator[Row]:
        nonlocal written
        for row in _rows(connection):
            yield row
            written += 1

    try:
        WRITERS[form](part, counted())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return written


def _write_sqlite(part: Path, rows: Iterable[Row]) -> None:
    with closing(sqlite3.connect(part)) as target, target:
        target.executescript(LAYOUT)
        target.executemany(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (?, ?, ?, ?, ?)",
            rows,
        )


def _write_json(part: Path, rows: Iterable[Row]) -> None:
    with part.open("wb") as target:
        target.write(b"[")
        for number, row in enumerate(rows):
            target.write((b",\n" if number else b"\n") + _object(row))
        target.write(b"\n]\n")


def _write_json_lines(part: Path, rows: Iterable[Row]) -> None:
    with part.open("wb") as target:
        target.writelines(_object(row) + b"\n" for row in rows)


def _object(row: Row) -> bytes:
    """A row as a JSON object; the text of its data goes in as it is, with all digits."""
    columns = orjson.dumps(dict(zip(COLUMNS[:-1], row[:-1], strict=True)))
    return columns[:-1] + b',"data":' + row[-1].encode() + b"}"


def _write_csv(part: Path, rows: Iterable[Row]) -> None:
    with part.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([COLUMNS])
        csv.writer(target).writerows(rows)


def _write_parquet(part: Path, rows: Iterable[Row]) -> None:
    remaining = iter(rows)

    def frames(*_: object) -> Iterator[pl.DataFrame]:
        while some := list(islice(remaining, FETCHED)):
            yield pl.DataFrame(some, schema=SCHEMA, orient="row")

    register_io_source(frames, schema=SCHEMA).sink_parquet(part, row_group_size=1_000)


WRITERS: dict[Form, Callable[[Path, Iterable[Row]], None]] = {
    "sqlite": _write_sqlite,
    "json": _write_json,
    "jsonl": _write_json_lines,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def _rows(connection: Connection) -> Iterator[Row]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(store.LONG_WORK)
        homeless: dict[int, list[dict[str, object]]] = {}
        for told_in, epoch, operator, price, domain in connection.execute(HOMELESS):
            entry = {"key": [str(operator), f"[{domain},{epoch}]"], "value": price}
            homeless.setdefault(told_in, []).append(entry)
        with connection.cursor("export") as cursor:
            cursor.itersize = FETCHED
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
