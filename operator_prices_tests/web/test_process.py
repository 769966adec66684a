"""The serving process: what it needs, what it loads, what it refuses to do."""

import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from operator_prices.settings import READER
from operator_prices_tests.support.web_server import reader, serving


def test_other_sites_may_ask_only_if_they_are_named(filled: str) -> None:
    with serving(filled, CORS_ORIGINS="https://a.example, https://b.example") as api:
        told = api.get("/api/summary", origin="https://b.example").headers
        assert told["access-control-allow-origin"] == "https://b.example"
        told = api.get("/api/summary", origin="https://c.example").headers
        assert "access-control-allow-origin" not in told


def test_the_api_refuses_to_write_whatever_its_role_may_do(filled: str) -> None:
    with serving(filled, url=filled) as api:
        ready = api.get("/readyz")
        assert ready.status == 200
        assert "can write" in ready.json["warning"]
        assert READER in ready.json["warning"]
        api.process.terminate()
        said = api.process.stderr.read() if api.process.stderr else ""
        assert "can write" in said
    with serving(filled) as api:
        assert api.get("/readyz").json["warning"] is None


def test_the_role_that_reads_cannot_write(filled: str) -> None:
    with psycopg.connect(reader(filled), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (39,)
        for statement in (
            "DELETE FROM epochs",
            "UPDATE data_version SET version = 1",
            "CREATE TABLE public.more (a INTEGER)",
            "SELECT * FROM epochs_original",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL(statement))


HEAVY = ("polars", "pyarrow", "dagster", "substrateinterface", "scalecodec", "numpy", "bokeh")


def test_the_serving_process_loads_nothing_heavy() -> None:
    program = (
        "import sys, operator_prices.web.__main__;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"API_DATABASE_URL": ""}, "API_DATABASE_URL is not set"),
        ({"API_PORT": "http"}, "API_PORT is 'http'"),
        ({"READ_PATH": "sql"}, "READ_PATH is 'sql'"),
        ({"API_DATABASE_URL": "host=127.0.0.1 port=1"}, "does not answer"),
    ],
)
def test_what_cannot_be_served_ends_in_one_sentence(
    filled: str, settings: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operator_prices.web"],
        env={"API_DATABASE_URL": filled, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_database_without_our_tables_is_named_as_such(dsn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operator_prices.web"],
        env={"API_DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "operator-prices migrate" in done.stderr
