"""Which form a stream of bytes has, by its content, and its rows."""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

import polars as pl

from operator_prices.legacy.forms import csv_text, json_text, sql_text
from operator_prices.legacy.forms.items import WANTED, BrokenFormError, FoundRow, Refused
from operator_prices.legacy.forms.streams import unpacked

SQLITE, PARQUET, CUSTOM = b"SQLite format 3\0", b"PAR1", b"PGDMP"

SQL_BEGINS = re.compile(
    rb"(?:--|/\*|\\restrict|PRAGMA\s|BEGIN\b|SET\s|CREATE\s|INSERT\s|COPY\s|DROP\s|ALTER\s|SELECT\s)",
    re.IGNORECASE,
)

FORMS = (
    "SQLite, JSON (a list, lines, the first generation), SQL text, pg_dump -Fc, CSV or Parquet,"
    " each also as gzip or zstd"
)

FETCHED = 20
"""Rows at a time of what is read from a file."""


class UnknownFormError(ValueError):
    """Content that is of none of the forms; the message says so."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What reading may need beside the bytes."""

    folder: Path
    """Where files may lie while they are read."""
    pg_restore: Callable[[], Path]
    """The program that reads `pg_dump -Fc`."""


def rows_of(file: BinaryIO, tools: Tools) -> Iterator[FoundRow | Refused]:
    """The rows of a file, a pipe or an answer, whatever form it has.

    Raises `UnknownFormError` for none of ours, `BrokenFormError` for one that ends too early.
    """
    stream, head, packings = unpacked(file)
    text = head.lstrip()
    if not text:
        raise UnknownFormError("is empty" if not head else "holds nothing but blanks")
    if head.startswith((SQLITE, PARQUET, CUSTOM)):
        found = _rows_of_binary(stream, head, tools)
    elif text.startswith(b"["):
        found = json_text.rows_of_list(stream)
    elif text.startswith(b"{"):
        found = json_text.rows_of_objects(stream)
    elif SQL_BEGINS.match(text):
        found = sql_text.rows_of_sql(stream)
    elif delimiter := csv_text.delimiter_of(text.split(b"\n", 1)[0]):
        found = csv_text.rows_of_csv(stream, delimiter)
    else:
        raise UnknownFormError(f"is none of {FORMS}")
    suffix = "".join(f", {packing}" for packing in packings)
    for one in found:
        yield one._replace(form=one.form + suffix) if suffix else one


def _rows_of_binary(stream: BinaryIO, head: bytes, tools: Tools) -> Iterator[FoundRow | Refused]:
    """The rows of what is not read from front to back: it becomes a file of its own first."""
    with NamedTemporaryFile(dir=tools.folder, prefix="form-") as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        file = Path(copy.name)
        if head.startswith(SQLITE):
            yield from rows_of_sqlite(file)
        elif head.startswith(PARQUET):
            yield from _rows_of_parquet(file)
        else:
            yield from _rows_of_custom(file, tools)


def rows_of_sqlite(file: Path) -> Iterator[FoundRow]:
    """The rows of table `epochs` of a SQLite file that nobody else writes."""
    form = "SQLite"
    try:
        with closing(sqlite3.connect(file)) as connection:
            known = {name for _, name, *_ in connection.execute("PRAGMA table_info(epochs)")}
            if lacking := [name for name in WANTED if name not in known]:
                raise UnknownFormError(
                    f"has no table epochs of the old system: it lacks {', '.join(lacking)}"
                )
            connection.text_factory = bytes
            cursor = connection.execute(
                "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs"
            )
            cursor.arraysize = FETCHED
            for columns in cursor:
                yield FoundRow(form, *map(_text, columns))
    except sqlite3.Error as error:
        raise BrokenFormError(f"cannot be read as SQLite ({error})") from error


def _text(value: object) -> object:
    """Text as such; bytes that are no UTF-8 stay bytes."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _rows_of_parquet(file: Path) -> Iterator[FoundRow]:
    try:
        frame = pl.scan_parquet(file)
        if lacking := set(WANTED) - set(frame.collect_schema()):
            raise UnknownFormError(f"is Parquet without {', '.join(sorted(lacking))}")
        for batch in frame.select(WANTED).collect_batches(chunk_size=FETCHED, maintain_order=True):
            for columns in batch.iter_rows():
                yield FoundRow("Parquet", *columns)
    except pl.exceptions.PolarsError as error:
        raise BrokenFormError(f"cannot be read as Parquet ({error})") from error


def _rows_of_custom(file: Path, tools: Tools) -> Iterator[FoundRow | Refused]:
    command = [str(tools.pg_restore()), "--data-only", "--table=epochs", "--file=-", str(file)]
    with NamedTemporaryFile(dir=tools.folder, prefix="said-") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)  # noqa: S603
        with process:
            if process.stdout is not None:
                for row in sql_text.rows_of_sql(cast("BinaryIO", process.stdout)):
                    yield row._replace(form="pg_dump -Fc")
        if process.returncode:
            reason = Path(said.name).read_text(errors="replace").strip().split("\n")[0]
            raise BrokenFormError(f"cannot be read by pg_restore ({reason})")
