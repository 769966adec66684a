"""All parts together, with readers and a backfill, are content with what a small pooler gives."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.request import urlopen

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices.epochs.windows import between
from operator_prices_tests.support.live import Live, until, up

EPOCHS, READERS = 250, 20

LIMIT, AT_MOST = 15, 12
"""What a small pooler gives, and what all parts together have open at a time."""

REFUSED = re.compile(r"too many connections|remaining connection slots|Retrying failed database")

PATHS = ("/api/summary", "/api/epochs?limit=100", "/api/operators", "/api/epochs")


@pytest.fixture
def node() -> Iterator[Node]:
    scenario = Scenario(epochs=EPOCHS, operators=3, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, latency_ms=5) as node:
        yield node


@pytest.fixture
def limited(dsn: str) -> Iterator[str]:
    """The database of an owner who is no superuser and may have fifteen connections."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    role, database = sql.Identifier("limited"), sql.Identifier(str(name))
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL(
                "CREATE ROLE {} LOGIN CREATEROLE PASSWORD 'limited' CONNECTION LIMIT {}"
            ).format(role, LIMIT)
        )
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
        yield make_conninfo(dsn, user="limited", password="limited")  # noqa: S106
        admin.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
        admin.execute(sql.SQL("DROP OWNED BY {}").format(role))
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


class Watch:
    """The most connections of the role at a time, and of each part, while the block lasts."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._done = dsn, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most, self.by_part = 0, Counter[str]()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._done.wait(0.05):
                rows = connection.execute(
                    "SELECT application_name, count(*) FROM pg_stat_activity"
                    " WHERE usename = 'limited' GROUP BY 1"
                ).fetchall()
                self.most = max(self.most, sum(count for _, count in rows))
                for name, count in rows:
                    self.by_part[name] = max(self.by_part[name], count)


def read(live: Live, done: threading.Event, told: "Counter[int]", first: int) -> None:
    number = first
    while not done.wait(0.05):
        number += 1
        address = f"http://127.0.0.1:{live.api_port}{PATHS[number % len(PATHS)]}"
        with urlopen(address, timeout=60) as answer:
            answer.read()
            told[answer.status] += 1


@pytest.mark.e2e
def test_a_backfill_and_twenty_readers_are_refused_no_connection(
    limited: str, dsn: str, node: Node, tmp_path: Path
) -> None:
    done, told = threading.Event(), Counter[int]()
    with Watch(dsn) as watch, up(tmp_path, node.url, DATABASE_URL=limited) as live:
        readers = [
            threading.Thread(target=read, args=[live, done, told, number])
            for number in range(READERS)
        ]
        for reader in readers:
            reader.start()
        try:
            backfill = live.backfill([window.key for window in between(0, EPOCHS - 1)])
            until(lambda: live.backfill_status(backfill) == "COMPLETED_SUCCESS", 300)
        finally:
            done.set()
            for reader in readers:
                reader.join()
    assert set(told) == {200}, told
    refused = {str(log) for log in tmp_path.rglob("*.log") if REFUSED.search(log.read_text())}
    assert refused == set(), watch.by_part
    assert watch.most <= AT_MOST, watch.by_part
    assert all(name.startswith("operator-prices") for name in watch.by_part if name)
    print(watch.most, dict(watch.by_part))  # noqa: T201 - shown by -s: the figures of a budget
