"""Each form is known by its content and read to the last digit; what is broken is named."""

import gzip
import io
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from operator_prices.legacy.forms.items import BrokenFormError, FoundRow, Refused
from operator_prices.legacy.forms.reading import Tools, UnknownFormError, rows_of
from operator_prices.legacy.snapshots import Row
from operator_prices.local.postgres import programs
from operator_prices_tests.support.legacy_forms import (
    PACKINGS,
    PLAIN,
    documents,
    fill_old_table,
    item,
    json_lines,
    json_list,
    objects,
    pg_dump,
    sqlite_dump,
    sqlite_file,
)
from operator_prices_tests.support.legacy_samples import document, history, row


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], list[FoundRow | Refused]]:
    tools = Tools(tmp_path, lambda: programs.binaries() / "pg_restore")
    return lambda content: list(rows_of(io.BytesIO(content), tools))


def as_told(found: Sequence[FoundRow | Refused]) -> list[tuple[object, ...]]:
    """The columns of rows, `data` decoded."""
    rows = [one for one in found if isinstance(one, FoundRow)]
    assert len(rows) == len(found)
    return [(*one[1:5], json.loads(str(one.data))) for one in rows]


def as_kept(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    return [(*one[:4], json.loads(str(one.data))) for one in rows]


ROWS = history(7)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", PLAIN)
def test_a_form_is_read_as_it_was_written_however_it_is_packed(
    read: Callable[[bytes], list[FoundRow | Refused]], form: str, packing: str
) -> None:
    assert as_told(read(PACKINGS[packing](PLAIN[form](ROWS)))) == as_kept(ROWS)


def test_sqlite_in_gzip_is_read(
    read: Callable[[bytes], list[FoundRow | Refused]], tmp_path: Path
) -> None:
    found = read(gzip.compress(sqlite_file(ROWS, tmp_path)))
    assert as_told(found) == as_kept(ROWS)
    assert {one.form for one in found} == {"SQLite, gzip"}


def test_documents_without_columns_beside_them_have_the_columns_in_them(
    read: Callable[[bytes], list[FoundRow | Refused]],
) -> None:
    found = as_told(read(documents(ROWS)))
    assert [one[:3] for one in found] == [one[:3] for one in ROWS]
    assert [one[3] for one in found] == [1_756_259_880_000 + epoch for epoch in range(7)]


@pytest.mark.parametrize(
    "how",
    [[], ["--inserts"], ["--column-inserts"], ["--rows-per-insert=3"], ["-Fc"], ["-Fc", "-Z0"]],
)
def test_a_dump_of_postgres_is_read_whatever_else_is_in_it(
    read: Callable[[bytes], list[FoundRow | Refused]], dsn: str, how: list[str]
) -> None:
    odd = 'it\'s \\ "quoted"; $1$ \t \u00e9 \U0001f600 --'
    rows = [*ROWS, row(7, document(7, note=odd))]
    fill_old_table(dsn, rows)
    dump = pg_dump(dsn, *how)
    assert sorted(as_told(read(dump)), key=lambda one: int(str(one[0]))) == as_kept(rows)
    if not how:
        with pytest.raises(BrokenFormError, match="cut off"):
            read(dump[: len(dump) // 2])


def test_text_with_line_breaks_comes_through_the_dump_of_sqlite(
    read: Callable[[bytes], list[FoundRow | Refused]],
) -> None:
    values = "1,2,'0x',3,replace('{\"a\": 1,\\n\"b\": ''x''}','\\n',char(10))"
    dump = (
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE epochs (\n  epoch INTEGER,"
        " end_block INTEGER,\n end_hash TEXT, timestamp INTEGER, data TEXT CHECK (data <> ','),\n"
        " PRIMARY KEY (epoch));\n"
        f"INSERT INTO epochs VALUES({values});\n"
        "INSERT INTO epochs VALUES(2,3,NULL,NULL,unistr('{\"a\":\\u000a1}'));\n"
        "INSERT INTO epochs VALUES(3,3,NULL,NULL,CAST('x' AS BLOB));\n"
        "INSERT INTO epochs VALUES(4,3,NULL,NULL,X'7b7d');\nCOMMIT;\n"
    )
    found = read(dump.encode())
    assert [tuple(one[1:]) for one in found if isinstance(one, FoundRow)] == [
        (1, 2, "0x", 3, '{"a": 1,\n"b": \'x\'}'),
        (2, 3, None, None, '{"a":\n1}'),
        (4, 3, None, None, "{}"),
    ]
    (refused,) = (one for one in found if isinstance(one, Refused))
    assert (refused.place, refused.reason) == ("line 9", "has 'cast' in the place of a value")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \n\t ", "nothing but blanks"),
        (b"<!DOCTYPE html><html>", "is none of"),
        (b"a,b,c\n1,2,3\n", "is none of"),
        (b"\x89PNG\r\n", "is none of"),
        (b"hello", "is none of"),
    ],
)
def test_what_has_no_form_of_ours_is_said_to_have_none(
    read: Callable[[bytes], list[FoundRow | Refused]], content: bytes, fact: str
) -> None:
    with pytest.raises(UnknownFormError, match=fact):
        read(content)


def test_a_sqlite_file_of_another_program_is_none(
    read: Callable[[bytes], list[FoundRow | Refused]], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE epochs (epoch, note)")
    connection.close()
    with pytest.raises(UnknownFormError, match="lacks end_block"):
        read((tmp_path / "other.db").read_bytes())


WHOLE = json_list(ROWS)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (gzip.compress(WHOLE)[:-20], "its gzip has no end"),
        (gzip.compress(WHOLE)[:200] + b"\0" * 50, "gzip"),
        (zstandard.compress(WHOLE)[:-20], "its zstd has no end"),
        (zstandard.compress(WHOLE)[:60] + b"\xff" * 50, "zstd"),
        (WHOLE[:-40], "cut off or broken JSON after item 6"),
        (WHOLE[:-1], "cut off or broken JSON after item 7"),
        (WHOLE[:-1] + b",NaN]", "broken JSON after item 7"),
        (WHOLE.replace(b"end_hash", b"end\xffhash", 1), "broken JSON after item 0"),
        (WHOLE.decode().encode("utf-16")[:-3], "UTF-16"),
        (sqlite_dump(ROWS)[:-8], "cut off"),
        (sqlite_dump(ROWS)[:-100], "cut off"),
        (b"SET client_encoding = 'LATIN1';\n", "--encoding=UTF8"),
        (b"PGDMP not at all", "pg_restore"),
        (b"PAR1 not at all", "Parquet"),
        (b"SQLite format 3\0 not at all", "SQLite"),
    ],
)
def test_a_form_that_is_cut_off_or_broken_is_an_error_that_says_where(
    read: Callable[[bytes], list[FoundRow | Refused]], content: bytes, fact: str
) -> None:
    with pytest.raises(BrokenFormError, match=fact):
        read(content)


def test_csv_that_is_cut_off_inside_quotes_is_an_error(
    read: Callable[[bytes], list[FoundRow | Refused]],
) -> None:
    with pytest.raises(BrokenFormError, match="cut off or broken CSV in line 2"):
        read(b'epoch,end_block,data\n1,2,"{""a"": ')


def test_pieces_that_are_no_rows_are_refused_by_themselves(
    read: Callable[[bytes], list[FoundRow | Refused]],
) -> None:
    good = json_lines(ROWS[:1])
    lines = [good, b"{", b"5", b'{"epoch": 1, "epoch": 2, "data": "{}"}', b'{"a": 1}', b"", good]
    lines += [b'{"epoch": 3, "data": NaN}', b"[" * 5_000 + b"]" * 5_000, b"\xff"]
    found = read(b"\n".join(lines))
    assert [type(one) for one in found].count(FoundRow) == 2
    refused = [(one.place, one.reason) for one in found if isinstance(one, Refused)]
    assert [place for place, _ in refused] == [f"line {n}" for n in (2, 3, 4, 5, 8, 9, 10)]
    assert refused[1:4] == [
        ("line 3", "is no object"),
        ("line 4", "names something twice"),
        ("line 5", "names no epoch"),
    ]
    short = read(b"epoch,data\n1\n2,{},3\n4,{}\n")
    assert [one.reason for one in short if isinstance(one, Refused)] == [
        "has 1 fields and not 2",
        "has 3 fields and not 2",
    ]
    copied = b"COPY public.epochs (epoch, data) FROM stdin;\n1\t{}\n2\n\\.\n"
    assert [type(one) for one in read(copied)] == [FoundRow, Refused]


@pytest.mark.parametrize("form", [json.dumps, lambda rows: "\n".join(map(json.dumps, rows))])
def test_no_digit_is_lost_and_what_is_named_twice_is_refused(
    read: Callable[[bytes], list[FoundRow | Refused]], form: Callable[[Any], str]
) -> None:
    large = objects([row(1, document(1, a=2**200, b=[2**64], c={"d": 2**63}))], parsed=True)
    twice = form(large).replace('"b": [', '"a": 5, "b": [')
    fraction = form(large).replace('"d": 9', '"d": 0.1000000000000000000009')
    (exact,) = read(form(large).encode())
    assert isinstance(exact, FoundRow)
    told = json.loads(str(exact.data))
    assert (told["a"], told["b"], told["c"]["d"]) == (2**200, [2**64], 2**63)
    (named,) = read(twice.encode())
    assert isinstance(named, Refused)
    assert named.reason == "names something twice"
    (kept,) = read(fraction.encode())
    assert isinstance(kept, FoundRow)
    assert json.loads(str(kept.data))["c"]["d"].startswith("0.10000000000000000000092")


def test_bytes_that_are_no_text_stay_bytes(
    read: Callable[[bytes], list[FoundRow | Refused]],
) -> None:
    for content in (
        b"epoch,data\n1,\xff\n",
        b"COPY epochs (epoch, data) FROM stdin;\n1\t\xff\n\\.\n",
        b"INSERT INTO epochs (epoch, data) VALUES (1, '\xff');\n",
    ):
        (one,) = read(content)
        assert isinstance(one, FoundRow)
        assert one.data == b"\xff"


def test_the_first_generation_is_known_by_what_it_tells(
    read: Callable[[bytes], list[FoundRow | Refused]],
) -> None:
    found = read(json.dumps([item(0), item(1, operatorSharePrices=None)]).encode())
    assert {one.form for one in found} == {"JSON of the first generation"}
    assert [tuple(one[1:5]) for one in found] == [
        (0, 100, "0x" + "0" * 64, None),
        (1, 200, "0x" + "0" * 63 + "1", None),
    ]
