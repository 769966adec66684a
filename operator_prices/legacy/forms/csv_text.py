"""CSV with a header, as COPY ... CSV HEADER and Supabase's table editor write it."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from operator_prices.legacy.decoding import shown
from operator_prices.legacy.forms.items import BrokenFormError, FoundRow, Refused
from operator_prices.legacy.forms.values import found_row

FORM = "CSV"

DELIMITERS = (",", ";", "\t", "|")

LONGEST = 2**30
"""Characters of a field; the library's own limit is 128 KB."""


def delimiter_of(line: bytes) -> str | None:
    """What separates the columns of a header that has `epoch` and `data`, None if it is none."""
    text = line.decode(errors="replace")
    for delimiter in DELIMITERS:
        names = next(csv.reader([text], delimiter=delimiter), [])
        if {"epoch", "data"} <= set(map(_named, names)):
            return delimiter
    return None


def rows_of_csv(stream: BinaryIO, delimiter: str) -> Iterator[FoundRow | Refused]:
    """The rows below the header; one with too many or too few fields is refused by itself."""
    csv.field_size_limit(LONGEST)
    text = io.TextIOWrapper(stream, errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        names = list(map(_named, next(reader)))
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(names):
                reason = f"has {len(fields)} fields and not {len(names)}"
                raw = shown(delimiter.join(fields))
                yield Refused(FORM, f"line {reader.line_num}", raw, reason)
                continue
            columns = dict(zip(names, fields, strict=True))
            yield found_row(FORM, {name: value or None for name, value in columns.items()})
    except csv.Error as error:
        raise BrokenFormError(
            f"is cut off or broken CSV in line {reader.line_num}: {error}"
        ) from error


def _named(column: str) -> str:
    return column.strip().strip('"').lower()
