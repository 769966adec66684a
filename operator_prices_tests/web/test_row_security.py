from collections.abc import Iterator

import psycopg
import pytest

from operator_prices.store import migrations
from operator_prices_tests.support import published
from operator_prices_tests.support.web_server import Served, database, serving

ROUTES = (
    *("/api/epochs", "/api/epochs?limit=5", "/api/epochs/7", "/api/summary"),
    *("/api/share-prices", "/api/operators", "/api/operators/1", "/api/status", "/readyz"),
)

LOSING_POLICIES = """
DO $$
DECLARE
  one RECORD;
BEGIN
  FOR one IN SELECT tablename, policyname FROM pg_policies {which} LOOP
    EXECUTE format('DROP POLICY %I ON %I', one.policyname, one.tablename);
  END LOOP;
END
$$;
"""


@pytest.fixture(scope="module")
def own(server: str, migrated: str) -> Iterator[Served]:
    """An API over a database of its own, which the tests here close and open."""
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            published.fill(connection)
        with serving(dsn) as served:
            yield served


@pytest.fixture
def mended(own: Served) -> Iterator[Served]:
    yield own
    migrations.migrate(own.dsn)
    assert own.get("/readyz").status == 200


def run(api: Served, statement: str) -> None:
    with psycopg.connect(api.dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (LOSING_POLICIES.format(which=""), "data_version, epoch_analytics, epoch_documents"),
        (
            LOSING_POLICIES.format(which="WHERE tablename = 'epoch_documents'"),
            "the rows of epoch_documents from the role",
        ),
        ("CREATE POLICY narrow ON epochs AS RESTRICTIVE USING (epoch < 3)", "the rows of epochs"),
        (
            "ALTER POLICY operator_prices_read ON operator_points USING (epoch < 3)",
            "the rows of operator_points",
        ),
        (
            "REVOKE SELECT ON epoch_documents FROM operator_prices_reader",
            "denied for table epoch_documents",
        ),
    ],
)
def test_what_is_hidden_is_503_with_one_sentence_on_every_route_and_never_an_empty_answer(
    mended: Served, change: str, said: str
) -> None:
    run(mended, change)
    for route in ROUTES:
        reply = mended.get(route)
        sentence = reply.json.get("detail", reply.json.get("database"))
        assert (route, reply.status) == (route, 503)
        assert said in sentence
        assert "run `operator-prices migrate` as the tables' owner" in sentence
    run(mended, "DROP POLICY IF EXISTS narrow ON epochs")


def test_row_security_that_is_off_or_forced_changes_no_answer(mended: Served) -> None:
    before = mended.get("/api/epochs").body
    for switch in ("DISABLE", "ENABLE", "FORCE", "NO FORCE"):
        run(mended, f"ALTER TABLE epoch_documents {switch} ROW LEVEL SECURITY")
        assert mended.get("/api/epochs").body == before


def test_an_api_does_not_start_where_rows_are_hidden(server: str, migrated: str) -> None:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(LOSING_POLICIES.format(which="").encode())
        said = "Row-level security hides the rows of"
        with pytest.raises(RuntimeError, match=said) as refused, serving(dsn):
            pass
        assert "Traceback" not in str(refused.value)


def test_a_lost_version_is_made_anew_and_no_data_with_it(mended: Served) -> None:
    run(mended, "DELETE FROM data_version")
    reply = mended.get("/api/epochs")
    assert reply.status == 503
    assert "INSERT INTO data_version DEFAULT VALUES" in reply.json["detail"]
    run(mended, "INSERT INTO data_version DEFAULT VALUES")
    assert len(mended.get("/api/epochs").json) > 0
