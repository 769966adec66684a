"""A whole `operator-prices up` to look at from outside: its GraphQL API, processes and database."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import psycopg

from operator_prices.devchain.chain import DevChain
from operator_prices.local.leftovers import MARK
from operator_prices.local.ports import free_port
from operator_prices.settings import PROJECT

ASSETS = (
    *("raw_epochs", "operator_share_prices", "operator_shares", "operators_metadata"),
    "comprehensive_analytics",
)

TABLES = "epochs", "operator_share_prices", "operator_shares", "operators_metadata"

OF_NOMINATORS = "nominator_epochs", "raw_nominators", "nominator_positions", "nominator_accounts"

SELECTOR = 'repositoryName: "__repository__", repositoryLocationName: "operator_prices"'

FAILED = {"FAILURE", "CANCELED"}


class Deployed(ABC):
    """Dagster's web server and the database, wherever they are."""

    __slots__ = ()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the web server is."""

    @abstractmethod
    def database(self) -> psycopg.Connection:
        """A connection to the pipeline's tables, and to Dagster's."""

    def ask(self, query: str, **variables: object) -> Any:  # noqa: ANN401
        """The data of a GraphQL answer; errors fail the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(  # noqa: S310
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            answered = json.load(answer)
        assert "errors" not in answered, answered["errors"]
        return answered["data"]

    def backfill(self, partitions: Sequence[str], assets: Sequence[str] = ASSETS) -> str:
        """Launch a backfill as the UI does; return its id."""
        answer = self.ask(
            "mutation ($it: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $it)"
            " { ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            it={
                "assetSelection": [{"path": [name]} for name in assets],
                "partitionNames": list(partitions),
            },
        )
        return str(answer["launchPartitionBackfill"]["backfillId"])

    def begin_windows(self, keys: Iterable[str]) -> list[str]:
        """Have Dagster know of windows before the sensor tells it of them; return their keys."""
        known = list(keys)
        for key in known:
            self.ask(
                "mutation ($key: String!) { addDynamicPartition("
                f"repositorySelector: {{{SELECTOR}}}, "
                'partitionsDefName: "epoch_windows", partitionKey: $key) { __typename } }',
                key=key,
            )
        return known

    def resume(self, backfill: str) -> str:
        """Launch what a backfill has left undone; return the id of the new one."""
        answer = self.ask(
            "mutation ($it: ReexecutionParams!) {"
            " reexecutePartitionBackfill(reexecutionParams: $it) {"
            " ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            it={"parentRunId": backfill, "strategy": "FROM_FAILURE"},
        )
        return str(answer["reexecutePartitionBackfill"]["backfillId"])

    def cancel(self, backfill: str) -> None:
        self.ask(
            "mutation ($id: String!) { cancelPartitionBackfill(backfillId: $id)"
            " { ... on CancelBackfillSuccess { backfillId } ... on PythonError { message } } }",
            id=backfill,
        )

    def backfill_status(self, backfill: str) -> str:
        answer = self.ask(
            "query ($id: String!) { partitionBackfillOrError(backfillId: $id)"
            " { ... on PartitionBackfill { status } } }",
            id=backfill,
        )
        return str(answer["partitionBackfillOrError"]["status"])

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """The newest runs first, with their tags as a dictionary."""
        answer = self.ask(
            "query ($of: RunsFilter) { runsOrError(filter: $of, limit: 200) { ... on Runs { results"
            " { runId jobName status startTime endTime creationTime tags { key value } } } } }",
            of={"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        )
        found: list[dict[str, Any]] = answer["runsOrError"]["results"]
        for run in found:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return found

    def switch(self, name: str, *, on: bool) -> None:
        """Start or stop a sensor."""
        if on:
            self.ask(
                f'mutation {{ startSensor(sensorSelector: {{{SELECTOR}, sensorName: "{name}"}})'
                " { ... on Sensor { name } ... on PythonError { message } } }"
            )
            return
        answer = self.ask(
            f'{{ sensorOrError(sensorSelector: {{{SELECTOR}, sensorName: "{name}"}})'
            " { ... on Sensor { id } } }"
        )
        self.ask(
            "mutation ($id: String!) { stopSensor(id: $id) { ... on PythonError { message } } }",
            id=answer["sensorOrError"]["id"],
        )

    def ticks(self) -> dict[str, int]:
        """How many ticks of all sensors and schedules ended in which way."""
        query = "SELECT status, count(*) FROM dagster.job_ticks GROUP BY 1"
        with self.database() as connection:
            rows = connection.execute(query)
            return dict(rows.fetchall())

    def forget_everything(self) -> None:
        """Empty our tables, as if nothing had ever been read."""
        with self.database() as connection:
            tables = ", ".join((*TABLES, "epoch_analytics", *OF_NOMINATORS))
            connection.execute(f"TRUNCATE {tables}".encode())


@dataclass(frozen=True, slots=True)
class Live(Deployed):
    """What one `up` serves, and from where."""

    data_dir: Path
    port: int
    api_port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return (self.data_dir / "up.log").read_text()

    def database(self) -> psycopg.Connection:
        named = re.search(
            r"^Database: postgresql://postgres@(.*)/operator_prices$", self.said, re.MULTILINE
        )
        assert named, self.said
        dsn = f"postgresql://postgres@/operator_prices?host={named[1]}"
        return psycopg.connect(dsn, autocommit=True)

    def last_served(self) -> int:
        """The latest epoch that the API tells of, -1 for none."""
        with urlopen(f"http://127.0.0.1:{self.api_port}/api/summary", timeout=10) as answer:
            summary = json.load(answer)
        return -1 if summary is None else int(summary["epoch"])

    def processes(self, told: str) -> list[psutil.Process]:
        """Those of our processes whose command line holds a text."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == str(self.data_dir.resolve())
                if ours and told in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, told: str) -> None:
        """End the processes that bear a text at once, as an empty memory would."""
        victims = self.processes(told)
        assert victims, told
        for victim in victims:
            victim.kill()


@contextmanager
def up(data_dir: Path, node: str, *, patience: float = 240, **environment: str) -> Iterator[Live]:
    """Serve until the block is left, by Ctrl-C, which must be a normal end."""
    port, api_port = free_port(), free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    program = "from operator_prices.cli.main import main; main()"
    with (data_dir / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "up"],
            cwd=PROJECT,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "DATA_DIR": str(data_dir),
                "ARCHIVE_NODE_URL": node,
                "UI_PORT": str(port),
                "API_PORT": str(api_port),
                **environment,
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    live = Live(data_dir, port, api_port, process)
    try:
        until(lambda: "Dagster UI:" in live.said, patience, live.said)
        yield live
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=90)
    assert code == 0, live.said
    assert live.said.rstrip().endswith("Stopped.")
    assert live.processes("") == []


def until(true: Callable[[], object], seconds: float, otherwise: object = "") -> float:
    """Wait until something is true; return how many seconds that took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, otherwise or f"not after {seconds} s"
        time.sleep(0.25)
    return time.monotonic() - begun


def written(connection: psycopg.Connection) -> dict[str, object]:
    """All rows with the transactions that wrote them: a row written again is another one."""
    return {
        table: connection.execute(
            f"SELECT count(*), md5(string_agg(concat(xmin, it), '' ORDER BY it::text))"  # noqa: S608
            f" FROM {table} AS it".encode()
        ).fetchone()
        for table in (*TABLES, "epoch_analytics")
    }


def assert_exact(live: Deployed, chain: DevChain) -> None:
    """What is stored is what is true: every completed epoch, every operator, every price."""
    truth = list(chain.truth())
    with live.database() as connection:
        epochs = connection.execute("SELECT epoch, end_block, end_hash FROM epochs ORDER BY 1")
        assert epochs.fetchall() == [(one.epoch, one.end_block, one.end_hash) for one in truth]
        shares = connection.execute(
            "SELECT epoch, operator_id, shares_raw, stake_raw, reward_raw FROM operator_shares"
        )
        assert {tuple(map(int, row)) for row in shares} == {
            (one.epoch, operator, state.shares, state.stake, state.reward)
            for one in truth
            for operator, state in one.operators.items()
        }
        prices = connection.execute(
            "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
            " WHERE source = 'chain'"
        )
        assert {tuple(map(int, row)) for row in prices} == {
            (one.epoch, operator, state.price)
            for one in truth
            for operator, state in one.operators.items()
            if state.price is not None
        }
        served = connection.execute("SELECT count(*) FROM comprehensive_analytics").fetchone()
        assert served == (len(truth),)
