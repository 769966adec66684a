"""A window whose line to the database is lost in some phase of it: done again, exact, once."""

from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Chain
from operator_prices.defs import window_assets
from operator_prices.postgres import working
from operator_prices_tests.support.lines import contents, line
from operator_prices_tests.support.web_server import database as another
from operator_prices_tests.support.windows_samples import FIRST, run_windows, small_chain

PHASES = {
    "reading known epochs": "wanted AND source = 'chain'",
    "copying raw epochs": 'COPY "epochs"',
    "keeping raw epochs": "DELETE FROM quarantine",
    "reading raw epochs": 'FROM "raw_epochs"',
    "writing shares": 'COPY "operator_shares"',
    "refreshing analytics": "SELECT refresh_epoch_analytics",
    "checking": "entry -> 'value' ->> 'currentTotalShares',",
}
"""What a client sends in the phase, and in no other before it."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with small_chain(tmp_path_factory.mktemp("runtimes")) as chain:
        yield chain


@pytest.fixture(scope="module")
def undisturbed(server: str, migrated: str, chain: Chain) -> dict[str, list[tuple[object, ...]]]:
    """What is stored when nothing happens."""
    with (
        another(server, migrated) as dsn,
        store.connect(dsn) as connection,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        assert run_windows(instance, connection, chain, FIRST).success
        return contents(dsn)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "DOUBT_SECONDS", 0.5)
    monkeypatch.setattr(working, "AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(window_assets, "FIRST_PAUSE", 0.1)


@pytest.mark.e2e
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("deed", ["lose", "swallow", "tear"])
@pytest.mark.usefixtures("impatient")
def test_a_window_is_done_again_and_exact_wherever_its_line_is_lost(  # noqa: PLR0917 - fixtures
    dsn: str,
    database: psycopg.Connection,
    chain: Chain,
    instance: dg.DagsterInstance,
    undisturbed: dict[str, list[tuple[object, ...]]],
    phase: str,
    deed: str,
) -> None:
    with line(dsn) as between, store.connect(between.url) as connection:
        trap = between.trap(PHASES[phase], deed)
        result = run_windows(instance, connection, chain, FIRST)
    assert trap.sprung.is_set()
    retried = [event for event in result.all_events if event.is_step_up_for_retry]
    assert (result.success, len(retried)) == (True, 1)
    assert contents(dsn) == undisturbed
    open_still = database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    ).fetchone()
    assert open_still == (0,)
