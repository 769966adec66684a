"""Tables: CSV, Parquet and Arrow say exactly what the JSON says."""

import csv
import io

import polars as pl
import psycopg
import pytest

from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, database, serving


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
