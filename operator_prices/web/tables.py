"""Tables: CSV, Parquet and Arrow of the rows of an answer, each made as a file."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from operator_prices.web import worker
from operator_prices.web.answers import Kitchen, Producer, Question
from operator_prices.web.compression import compressed
from operator_prices.web.spool import Entry

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""By which spreadsheets know that a CSV file is UTF-8."""

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a formula may begin; the last four are the wide forms of the first."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a table is wanted."""

    name: str
    """`json`, `csv`, `parquet` or `arrow`."""
    bom: bool = False
    """Whether CSV begins with a byte order mark."""
    ai3: bool = False
    """Whether amounts come in AI3, too."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as lines of CSV, with the names and kinds of their columns."""

    form: Form
    columns: Sequence[tuple[str, str]]
    rows: Producer

    async def make(self, entry: Entry, kitchen: Kitchen, question: Question, coding: str) -> None:
        """Read the rows, give the connection back, and have the file written."""
        csv = self.form.name == "csv"
        async with (
            kitchen.large_turns.turn(),
            kitchen.database.snapshot(large=True) as (cursor, seen),
            aclosing(self.rows(cursor, seen)) as rows,
        ):
            entry.named(question.etag(seen, coding))
            entry.write(b"")  # there may be no row, and still is a file
            async for part in compressed(self._headed(rows), coding) if csv else rows:
                entry.write(part)
        if csv:
            return
        async with kitchen.worker_turns.turn():
            await worker.write(
                {
                    "format": self.form.name,
                    "columns": list(self.columns),
                    "source": str(entry.path),
                    "target": str(entry.beside()),
                    "coding": coding,
                }
            )
        entry.rewritten(entry.beside())

    async def _headed(self, rows: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        names = line([name for name, _ in self.columns])
        yield BYTE_ORDER_MARK + names if self.form.bom else names
        async for part in rows:
            yield part


def line(row: Sequence[Any], *, defused: bool = False) -> bytes:
    r"""A row as CSV: null is nothing, an empty text is a pair of quotation marks.

    >>> line([1, None, "", 'a "b", c', "=1+1"]), line(["=1+1", "Nadelöhr"], defused=True)
    (b'1,,"","a ""b"", c",=1+1\n', b"'=1+1,Nadel\xc3\xb6hr\n")
    """
    return (",".join(_field(value, defused=defused) for value in row) + "\n").encode()


def _field(value: Any, *, defused: bool) -> str:  # noqa: ANN401
    if value is None:
        return ""
    text = str(value)
    if defused and text.startswith(RUN_BY_SPREADSHEETS) and not _number(text):
        text = f"'{text}"
    if text and not any(letter in text for letter in '",;\t\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _number(text: str) -> bool:
    """Whether it is a number, as which a spreadsheet may take it."""
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def example(columns: Sequence[str], told: Mapping[str, Any]) -> str:
    r"""The head of a table and a row of it, from an object with those columns as keys.

    >>> example(["operator_id", "reward"], {"operatorId": 7})
    'operator_id,reward\n7,\n'
    """
    row = [told.get(to_camel(name)) for name in columns]
    return (line(columns) + line(row)).decode()
