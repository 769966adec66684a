"""A small chain in a small database, and what the Dagster tests do with them."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import psycopg
from psycopg import sql

from operator_prices.amounts import ONE
from operator_prices.chain import Before, Chain, EpochStates, Head, Reach
from operator_prices.definitions import defs
from operator_prices.defs.jobs import ingest_epochs
from operator_prices.defs.partitions import begin_windows
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices.settings import Settings
from operator_prices_tests.support.samples import reading

SMALL = Scenario(epochs=112, operators=5, seconds_per_block=0, late_reward_every=0)
"""A window that is over and one that is open: epochs 0 to 111 are completed."""

FIRST, SECOND = "000000-000099", "000100-000199"


@contextmanager
def small_chain(cache: Path) -> Iterator[Chain]:
    with serving(SMALL) as node, reading(node.url, cache) as chain:
        yield chain


class Lying:
    """A chain that tells of its epochs what `change` makes of it."""

    def __init__(self, honest: Chain) -> None:
        self._honest = honest
        self.hashes: dict[int, str] = {}
        """Blocks that the chain has lost to others."""

    @property
    def genesis_hash(self) -> str:
        return self._honest.genesis_hash

    @property
    def domain_id(self) -> int:
        return self._honest.domain_id

    @property
    def requests(self) -> int:
        return self._honest.requests

    @property
    def calls(self) -> int:
        return self._honest.calls

    def head(self) -> Head:
        return self._honest.head()

    def reach(self) -> Reach:
        return self._honest.reach()

    def read_each(
        self, pieces: Iterable[Iterable[int]], nominators: Before | None = None
    ) -> Generator[EpochStates, None, None]:
        with closing(self._honest.read_each(pieces, nominators)) as read:
            for states in read:
                yield self.change(states)

    def change(self, states: EpochStates) -> EpochStates:
        return states

    def count(self, block_hash: str, maps: Mapping[str, str]) -> dict[str, int]:
        return self._honest.count(block_hash, maps)

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        honest = self._honest.block_hashes(blocks)
        return [self.hashes.get(block, found) for block, found in zip(blocks, honest, strict=True)]


class WrongPrice(Lying):
    """Stores for operator 0 in epoch 7 a price above the one that its state implies."""

    def change(self, states: EpochStates) -> EpochStates:
        wrong = (pl.col("epoch") == 7) & (pl.col("operator_id") == 0)
        price = pl.lit(ONE, pl.UInt64)
        others = states.prices.filter(~wrong)
        lie = pl.DataFrame([(7, 0, 0)], schema=others.schema, orient="row")
        lie = lie.with_columns(share_price_perq=price)
        return replace(states, prices=pl.concat([others, lie]))


class MissingEpoch(Lying):
    """Does not know epoch 7."""

    def change(self, states: EpochStates) -> EpochStates:
        return replace(states, epochs=states.epochs.filter(pl.col("epoch") != 7))


class DoubledOperator(Lying):
    """Tells of operator 0 in epoch 7 twice."""

    def change(self, states: EpochStates) -> EpochStates:
        twice = states.operators.filter(pl.col("epoch") == 7, pl.col("operator_id") == 0)
        return replace(states, operators=pl.concat([states.operators, twice]))


class DoubledStake(Lying):
    """Tells of a total stake that is not the sum of the operators' in epoch 7."""

    def change(self, states: EpochStates) -> EpochStates:
        total = pl.col("total_stake")
        doubled = pl.when(pl.col("epoch") == 7).then(total + total).otherwise(total)
        return replace(states, epochs=states.epochs.with_columns(total_stake=doubled))


def run_windows(
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    chain: Chain,
    *keys: str,
    assets: Sequence[str] | None = None,
    verify: bool = False,
) -> dg.ExecuteInProcessResult:
    """The ingestion of one window, or in one run of all windows from the first key to the last."""
    begin_windows(instance, 199)
    job = dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=[ingest_epochs],
        executor=dg.in_process_executor,
        resources={"chain": chain, "database": database, "options": Settings()},
    ).resolve_job_def(ingest_epochs.name)
    range_tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    return job.execute_in_process(
        instance=instance,
        partition_key=keys[0] if len(keys) == 1 else None,
        tags=range_tags if len(keys) > 1 else None,
        asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
        run_config={
            "ops": {"raw_epochs": {"config": {"verify": verify}}} if assets is None else {},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    """Names of the checks that say that something is wrong, and not only remarkable."""
    return {
        one.check_name
        for one in result.get_asset_check_evaluations()
        if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR
    }


def rows(database: psycopg.Connection, table: str) -> int:
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
    (count,) = database.execute(query).fetchone() or (0,)
    return int(count)
