"""Tables: CSV, Parquet and Arrow say exactly what the JSON says."""

import csv
import io
from decimal import Decimal
from email import message_from_bytes

import duckdb
import fsspec
import nanoarrow as na
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from duckdb_extensions import import_extension

from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, database, serving

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("path", ["/api/share-prices", "/api/operators/3/share-prices"])
@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_a_table_holds_exactly_what_the_json_says(api: Served, path: str, form: str) -> None:
    told = api.get(f"{path}?from=15&to=25").json
    reply = api.get(f"{path}?from=15&to=25&format={form}")
    assert reply.headers["content-disposition"] == f'attachment; filename="share-prices.{form}"'
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(reply.body.decode())))
    else:
        read = pl.read_parquet if form == "parquet" else pl.read_ipc_stream
        rows = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in read(io.BytesIO(reply.body)).iter_rows(named=True)
        ]
    names = {
        "epoch": "epoch",
        "operator_id": "operatorId",
        "timestamp": "timestamp",
        "share_price_perq": "sharePricePerq",
        "stake_per_share": "stakePerShare",
        "stake": "stake",
        "shares": "shares",
        "reward": "reward",
        "nomination_tax": "nominationTax",
        "status": "status",
        "source": "source",
    }
    assert rows == [{column: str(point[name]) for column, name in names.items()} for point in told]


def test_amounts_of_128_bits_survive_every_form(server: str, migrated: str) -> None:
    largest = 2**128 - 1
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 0, 1)
            connection.execute(
                "UPDATE operator_shares SET (stake_raw, active_stake_raw, reward_raw, shares_raw)"
                " = ROW (%(largest)s, %(largest)s, %(largest)s, %(largest)s)",
                {"largest": largest},
            )
            connection.execute("SELECT refresh_epoch_analytics(0, 0)")
        with serving(dsn) as api:
            assert api.get("/api/epochs").json[0]["operatorStakes"] == {"0": str(largest)}
            assert api.get("/api/share-prices").json[0]["stake"] == str(largest)
            for form, read in (("parquet", pl.read_parquet), ("arrow", pl.read_ipc_stream)):
                body = api.get(f"/api/share-prices?format={form}").body
                assert read(io.BytesIO(body))["shares"].to_list() == [str(largest)]
            assert str(largest) in api.get("/api/share-prices?format=csv").body.decode()
            assert api.get("/api/operators/0").json["stake"] == str(largest)


def test_the_form_of_an_answer_is_negotiated(api: Served) -> None:
    for accept, kind in (
        ("text/csv", "text/csv"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("*/*", "application/json"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
    ):
        reply = api.get("/api/operators", accept=accept)
        assert reply.headers["content-type"].startswith(kind)
        assert "Accept" in reply.headers["vary"]
    assert api.get("/api/epochs/7", accept="text/csv").body.startswith(b"epoch,operator_id,")


def test_a_file_is_told_by_its_head_and_had_in_parts(api: Served) -> None:
    path = "/api/share-prices?format=parquet&from=3"
    head, whole = api.get(path, method="HEAD"), api.get(path)
    assert head.body == b""
    for name in ("content-length", "etag", "accept-ranges", "content-type"):
        assert head.headers[name] == whole.headers[name]
    assert int(head.headers["content-length"]) == len(whole.body)
    assert head.headers["accept-ranges"] == "bytes"
    for wanted, part in (
        ("bytes=0-3", whole.body[:4]),
        ("bytes=-8", whole.body[-8:]),
        ("bytes=10-", whole.body[10:]),
    ):
        reply = api.get(path, range=wanted)
        assert (reply.status, reply.body) == (206, part)
        assert reply.headers["content-range"].endswith(f"/{len(whole.body)}")
        assert reply.headers["etag"] == whole.headers["etag"]


def test_several_ranges_come_as_parts_of_one_answer(api: Served) -> None:
    path = "/api/share-prices?format=csv"
    whole = api.get(path).body
    reply = api.get(path, range="bytes=0-4, 100-109")
    assert reply.status == 206
    kind = reply.headers["content-type"]
    message = message_from_bytes(f"content-type: {kind}\n\n".encode() + reply.body)
    parts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    assert parts == [whole[:5], whole[100:110]]
    assert len(reply.body) == int(reply.headers["content-length"])


def test_a_range_is_given_only_of_what_the_client_has(api: Served) -> None:
    path = "/api/share-prices?format=arrow"
    whole = api.get(path)
    assert api.get(path, range="bytes=0-3", if_range=whole.headers["etag"]).status == 206
    for other in ('"of-another-version"', "Sat, 01 Jan 2000 00:00:00 GMT"):
        assert api.get(path, range="bytes=0-3", if_range=other).body == whole.body
    assert api.get(path, range="rows=0-3").body == whole.body
    beyond = api.get(path, range=f"bytes={len(whole.body)}-")
    assert beyond.status == 416
    assert beyond.headers["content-range"] == f"bytes */{len(whole.body)}"


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_who_takes_compressed_files_gets_them_with_their_length(api: Served, form: str) -> None:
    path = f"/api/share-prices?format={form}"
    plain, squeezed = api.get(path), api.get(path, accept_encoding="zstd")
    unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(squeezed.body)
    assert unpacked == plain.body
    assert int(squeezed.headers["content-length"]) == len(squeezed.body)
    assert squeezed.headers["accept-ranges"] == "none"
    assert squeezed.headers["etag"] != plain.headers["etag"]
    assert api.get(path, range="bytes=0-9", accept_encoding="zstd").body == plain.body[:10]


def test_two_processes_write_the_same_file_of_the_same_data(filled: str) -> None:
    asked = [f"/api/share-prices?format={form}" for form in ("parquet", "arrow", "csv")]
    with serving(filled) as one, serving(filled) as other:
        for path in asked:
            first, second = one.get(path), other.get(path)
            assert (first.headers["etag"], first.body) == (second.headers["etag"], second.body)


def test_a_file_is_made_once_for_all_who_ask(filled: str) -> None:
    with serving(filled) as api:
        for method in ("HEAD", "GET", "GET"):
            api.get("/api/share-prices?format=csv", method=method)
        told = api.get("/metrics").body.decode()
        stored = len(api.get("/api/share-prices").json)
        assert f'rows_served_total{{route="/api/share-prices"}} {stored}.0' in told


def test_tables_are_opened_by_their_address_with_the_tools_people_have(api: Served) -> None:
    told = api.get("/api/share-prices").json
    stakes = [int(point["stake"]) for point in told]
    url = f"{api.url}/api/share-prices"
    scanned = pl.scan_parquet(f"{url}?format=parquet").select("stake", "epoch")
    assert [int(stake) for stake in scanned.collect()["stake"]] == stakes
    assert pl.read_parquet(f"{url}?format=parquet").height == len(told)
    frame = pd.read_parquet(f"{url}?format=parquet")
    assert [int(stake) for stake in frame["stake"]] == stakes
    frame = pd.read_csv(f"{url}?format=csv", dtype=str)
    assert [int(stake) for stake in frame["stake"]] == stakes
    with fsspec.open(f"{url}?format=parquet") as file:
        assert pq.read_table(file, columns=["epoch"]).num_rows == len(told)


def test_duckdb_reads_by_address(api: Served) -> None:
    told = api.get("/api/share-prices").json
    url = f"{api.url}/api/share-prices?format="
    with duckdb.connect() as connection:
        import_extension("httpfs", connection)
        for source in (
            f"read_parquet('{url}parquet')",
            f"read_csv('{url}csv', all_varchar = true)",  # or it takes amounts for doubles
        ):
            row = connection.execute(
                f"SELECT count(*), sum(stake::HUGEINT) FROM {source}"  # noqa: S608
            ).fetchone()
            assert row == (len(told), sum(int(point["stake"]) for point in told))


def test_arrow_has_plain_types_for_readers_of_other_languages(api: Served) -> None:
    told = api.get("/api/share-prices").json
    body = api.get("/api/share-prices?format=arrow").body
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    assert not any("view" in str(field.type) for field in table.schema)
    assert table["stake"].to_pylist() == [point["stake"] for point in told]
    with na.ArrayStream.from_readable(body) as arrays:
        array = arrays.read_all()
    assert len(array) == len(told)
    assert [row["stake"] for row in array.to_pylist()] == [point["stake"] for point in told]


def test_csv_for_spreadsheets_says_that_it_is_utf_8_and_runs_nothing(
    server: str, migrated: str
) -> None:
    names = [
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\tx",
        "\n=1",
        "\uff1d1",
        "a;=1",
        "ö",
    ]
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 300, len(names), raw=False)
            for number, name in enumerate(names):
                connection.execute(
                    "UPDATE operators_metadata SET name = %s WHERE operator_id = %s",
                    [name, number],
                )
        with serving(dsn) as api:
            reply = api.get("/api/operators?format=csv&bom=1&ai3=1")
            operators = api.get("/api/operators").json
            parquet = api.get("/api/operators?format=parquet").body
    assert reply.body.startswith(b"\xef\xbb\xbfoperator_id,")
    rows = list(csv.DictReader(io.StringIO(reply.body.decode("utf-8-sig"))))
    assert [row["name"] for row in rows] == [
        *(f"'{name}" for name in names[:-2]),
        *names[-2:],
    ]
    assert b'"a;=1"' in reply.body
    assert pl.read_parquet(io.BytesIO(parquet))["name"].to_list() == names
    for row, operator in zip(rows, operators, strict=True):
        assert Decimal(row["stake_ai3"]) * 10**18 == int(operator["stake"])
        earned = operator["returns"]["1d"]
        assert row["return_1d"] == earned["return"]
        assert (row["from_epoch_1d"], row["to_epoch_1d"]) == (
            str(earned["fromEpoch"]),
            str(earned["toEpoch"]),
        )


def test_amounts_in_ai3_are_exact_in_every_form(api: Served) -> None:
    asked = "/api/share-prices?from=30&ai3=1&format="
    for frame in (
        pl.read_csv(api.get(f"{asked}csv").body, infer_schema=False),
        pl.read_parquet(api.get(f"{asked}parquet").body),
    ):
        for name in ("stake", "reward", "stake_per_share"):
            for row in frame.select(name, f"{name}_ai3").iter_rows():
                assert Decimal(row[1]).scaleb(18) == Decimal(row[0])
    assert api.get("/api/share-prices?ai3=1").status == 422
    assert api.get("/api/share-prices?bom=1&format=parquet").status == 422
