"""The routes for whoever runs the API, and how it bears a database that is away."""

import time

import psycopg
import pytest
from psycopg import sql

from operator_prices_tests.support.web_server import database, serving


def test_metrics_count_requests_by_route_and_rows(filled: str) -> None:
    with serving(filled) as api:
        for epoch in (1, 2, 3):
            api.get(f"/api/epochs/{epoch}")
        api.get("/api/epochs?limit=5")
        api.get("/api/epochs?limit=x")
        told = api.get("/metrics").body.decode()
    assert 'request_seconds_count{route="/api/epochs/{epoch}",status="200"} 3.0' in told
    assert 'request_seconds_count{route="/api/epochs",status="422"} 1.0' in told
    assert 'rows_served_total{route="/api/epochs"} 5.0' in told
    assert "operator_prices_last_epoch 39.0" in told


def test_connections_that_died_with_the_server_cost_no_answer(filled: str) -> None:
    with serving(filled) as api:
        for path in ("/api/epochs/1", "/api/epochs", "/api/operators"):
            assert api.get(path).status == 200
        with psycopg.connect(api.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'operator-prices api'"
            )
        for path in ("/api/epochs/2", "/api/epochs?limit=all&to=30", "/api/operators/1", "/readyz"):
            assert api.get(path).status == 200, path


@pytest.mark.e2e
def test_metrics_are_told_and_probes_are_short_while_the_database_is_away(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        assert "operator_prices_database_up 1.0" in api.get("/metrics").body.decode()
        name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [name.as_string().strip('"')],
            )
            begun = time.monotonic()
            assert api.get("/readyz").status == 503
            assert "operator_prices_database_up 0.0" in api.get("/metrics").body.decode()
            assert time.monotonic() - begun < 8
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        until = time.monotonic() + 20
        while api.get("/readyz").status != 200:
            assert time.monotonic() < until
            time.sleep(0.2)


def test_readiness_can_depend_on_freshness(filled: str) -> None:
    assert_stale = {"ready": False, "fresh": False, "lastEpoch": 39}
    with serving(filled, API_MAX_LAG_SECONDS="60") as api:
        reply = api.get("/readyz")
        assert reply.status == 503
        assert assert_stale.items() <= reply.json.items()
        assert api.get("/healthz").status == 200
