"""Rows of the old table in all the forms that people bring them in."""

import csv
import gzip
import io
import json
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import zstandard
from psycopg.conninfo import conninfo_to_dict

from operator_prices.amounts import ONE
from operator_prices.legacy.snapshots import Row
from operator_prices.local.postgres import programs
from operator_prices_tests.support.legacy_imports import OLD_TABLE, keep_old
from operator_prices_tests.support.legacy_samples import end_hash, write_sqlite

NAMES = ("epoch", "end_block", "end_hash", "timestamp", "data")


def objects(rows: Sequence[Row], *, parsed: bool = False) -> list[dict[str, Any]]:
    """Rows as JSON objects, `data` as text or as an object."""
    found: list[dict[str, Any]] = [dict(zip(NAMES, row, strict=True)) for row in rows]
    return [one | {"data": json.loads(one["data"])} for one in found] if parsed else found


def json_list(rows: Sequence[Row]) -> bytes:
    return json.dumps(objects(rows)).encode()


def json_list_of_objects(rows: Sequence[Row]) -> bytes:
    return json.dumps(objects(rows, parsed=True), indent=2).encode()


def json_lines(rows: Sequence[Row]) -> bytes:
    return "\n".join(map(json.dumps, objects(rows))).encode()


def json_lines_of_objects(rows: Sequence[Row]) -> bytes:
    return "".join(f"{json.dumps(one)}\n" for one in objects(rows, parsed=True)).encode()


def json_objects(rows: Sequence[Row]) -> bytes:
    """Objects over several lines, as `jq` writes them."""
    return "\n".join(json.dumps(one, indent=2) for one in objects(rows, parsed=True)).encode()


def documents(rows: Sequence[Row]) -> bytes:
    """The documents alone, without the columns beside them."""
    return json.dumps([json.loads(str(row.data)) for row in rows]).encode()


def csv_with_header(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([NAMES, *rows])
    return text.getvalue().encode()


def sqlite_dump(rows: Sequence[Row]) -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE epochs (epoch, end_block, end_hash, timestamp, data)")
        connection.execute("CREATE TABLE other (note)")
        connection.execute("INSERT INTO other VALUES ('it''s; not ours')")
        connection.executemany("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", rows)
        dump = "\n".join(connection.iterdump())
    connection.close()
    return dump.encode()


def sqlite_file(rows: Sequence[Row], folder: Path) -> bytes:
    return write_sqlite(folder / "form.db", rows).read_bytes()


PLAIN: dict[str, Callable[[Sequence[Row]], bytes]] = {
    form.__name__: form
    for form in (
        json_list,
        json_list_of_objects,
        json_lines,
        json_lines_of_objects,
        json_objects,
        csv_with_header,
        sqlite_dump,
    )
}
"""Forms that need nothing but the rows."""

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip in two members": lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]),
    "zstd": zstandard.compress,
    "zstd in two frames": lambda data: (
        zstandard.compress(data[:99]) + zstandard.compress(data[99:])
    ),
    "zstd in gzip": lambda data: gzip.compress(zstandard.compress(data)),
    "with a mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16 with a mark": lambda data: data.decode().encode("utf-16"),
}


def fill_old_table(dsn: str, rows: Sequence[Row]) -> None:
    """A database as the old system had it, with functions and strings that dumps quote."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_TABLE)
        connection.execute(
            "CREATE FUNCTION trap() RETURNS text LANGUAGE sql AS $body$"
            " -- isn't; it\n SELECT 'a;b' $body$"
        )
        connection.execute("COMMENT ON TABLE epochs IS 'what isn''t; seen'")
        connection.execute("CREATE TABLE other (epochs TEXT)")
        connection.execute("INSERT INTO other VALUES ('not; ours'), (E'a\\tb\\nc')")
        keep_old(connection, rows)


def pg_dump(dsn: str, *how: str) -> bytes:
    program = programs.binaries() / "pg_dump"
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    done = subprocess.run(
        [program, *how, "--host", known["host"], "--username", known["user"], known["dbname"]],
        capture_output=True,
        check=True,
        env={"PGPORT": known.get("port", "5432"), "PGPASSWORD": known.get("password", "")},
    )
    return done.stdout


def reciprocal(price: int) -> str:
    """What the first generation wrote for a price."""
    return str(ONE * ONE // price)


def item(epoch: int, **changes: object) -> dict[str, Any]:
    """An epoch of the first generation."""
    return {
        "domainId": 0,
        "epoch": epoch,
        "startBlock": 100 * epoch + 1,
        "startHash": end_hash(10_000 + epoch),
        "endBlock": 100 * epoch + 100,
        "endHash": end_hash(epoch),
        "totalStake": "3000",
        "operatorStakes": {"0": "1000", "1": "2000"},
        "rewards": {"0": "7"},
        "operatorSharePrices": {
            "0": reciprocal(ONE - 1_000 * epoch - 1),
            "1": reciprocal(ONE - 1_000 * epoch - 2),
        },
    } | changes
