"""Values and functions to test with, not fixtures."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from scalecodec.utils.ss58 import ss58_encode

from operator_prices.chain import EpochStates
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate.reader import SubstrateChain
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.metadata import SS58_PREFIX
from operator_prices.devchain.scenario import Layout, Scenario, Upgrade
from operator_prices.devchain.server import Call
from operator_prices.devchain.truth import EpochTruth
from operator_prices.epochs import documents, normalized
from operator_prices.settings import PROJECT

SHARED = Path(os.environ.get("SHARED_DIR", PROJECT.parent / "shared"))
"""Material that users do not have: tests that need it are skipped, with the reason."""

METADATA = SHARED / "chain" / "chronos-metadata-v14.scale"

needs_metadata = pytest.mark.skipif(
    not METADATA.exists(), reason="no real metadata: it is not part of the project"
)

UPGRADED = Scenario(
    seconds_per_block=0,
    epochs=60,
    operators=6,
    forced=(11, 12, 40),
    missed=(8, 33),
    jumps=(21,),
    layout=Layout.PERBILL_REWARDS,
    upgrades=(
        Upgrade(layout=Layout.PERBILL, epoch=15, at="end"),
        Upgrade(layout=Layout.PERQUINTILL, epoch=30, at="transition"),
    ),
    other_domain_operators=2,
)
"""Every irregularity a history can have, and three runtimes."""

Rows = dict[tuple[int, int], tuple[object, ...]]


@contextmanager
def reading(url: str, cache: Path, **limits: float) -> Iterator[SubstrateChain]:
    """A reader of domain 0 that does not wait long before it tries again."""
    with Rpc(Endpoint.parse_all(url), pause=0.01, **limits) as rpc:
        yield SubstrateChain(rpc, domain_id=0, cache=cache)


def epoch_rows(states: EpochStates) -> dict[int, tuple[object, ...]]:
    """What was read of each epoch, in the order of `true_epoch_rows`."""
    names = (
        "end_block",
        "end_hash",
        "timestamp",
        "spec_version",
        "transition_block",
        "transition_hash",
        "transition_spec_version",
        "total_stake",
        "treasury_funds",
        "chain_rewards",
        "transition_timestamp",
        "total_stake_after",
        "treasury_funds_after",
        "chain_rewards_after",
    )
    return {epoch: tuple(rest) for epoch, *rest in states.epochs.select("epoch", *names).rows()}


def true_epoch_rows(truth: Iterable[EpochTruth]) -> dict[int, tuple[object, ...]]:
    """What the chain noted down of each epoch while it was played."""
    return {
        epoch.epoch: (
            epoch.end_block,
            epoch.end_hash,
            epoch.timestamp,
            epoch.spec_version,
            epoch.transition_block,
            epoch.transition_hash,
            epoch.transition_spec_version,
            epoch.total_stake,
            epoch.treasury,
            epoch.chain_rewards,
            epoch.transition_timestamp,
            *epoch.after,
        )
        for epoch in truth
    }


def operator_rows(states: EpochStates) -> Rows:
    """What the tables would hold of each operator, prices and their sources included."""
    told = normalized.decoded(documents.raw_epochs(states, 0))
    shares = normalized.operator_shares(told).join(
        normalized.operator_share_prices(told).rename({"source": "price_source"}),
        on=["epoch", "operator_id"],
        how="full",
        coalesce=True,
    )
    return _keyed(
        shares.select(
            "epoch",
            "operator_id",
            "share_price_perq",
            "price_source",
            "shares_raw",
            "stake_raw",
            "active_stake_raw",
            "reward_raw",
            "storage_fee_deposit_raw",
            "nomination_tax",
            "status",
            "shares_after_raw",
            "stake_after_raw",
            "owned_by",
        )
    )


def true_operator_rows(truth: Iterable[EpochTruth]) -> Rows:
    """The same from the chain's own notes; where it stored no price, the one its state implies."""
    rows: Rows = {}
    for epoch in truth:
        for operator_id, told in epoch.operators.items():
            price, source = told.price, "chain"
            worth = told.stake + told.reward - told.reward * told.tax // 100
            if price is None and told.shares and worth:
                price, source = told.shares * 10**18 // worth, "derived"
            rows[epoch.epoch, operator_id] = (
                price,
                None if price is None else source,
                told.shares,
                told.stake,
                told.active_stake,
                told.reward,
                told.storage_fee_deposit,
                told.tax,
                told.status,
                told.shares_after,
                told.stake_after,
                ss58_encode(told.owner, SS58_PREFIX),
            )
    return rows


def own_copy(call: Call) -> Any:  # noqa: ANN401
    """The answer to a call, to be spoiled at will."""
    return orjson.loads(orjson.dumps(call.answer()))


def truth_of(chain: DevChain) -> list[EpochTruth]:
    return list(chain.truth())


def assert_all_read(reader: SubstrateChain, played: DevChain) -> None:
    """What is completed is read true to the last digit, and nothing but jumps is skipped."""
    last = reader.head().last_completed_epoch
    assert last == max(epoch.epoch for epoch in truth_of(played))
    assert_true(reader.read(range(last + 1)), played)


def assert_true(states: EpochStates, played: DevChain) -> None:
    """All that is completed is there, true to the last digit, and nothing but jumps is skipped."""
    truth = truth_of(played)
    last = max(epoch.epoch for epoch in truth)
    assert states.quarantined.is_empty()
    assert epoch_rows(states) == true_epoch_rows(truth)
    assert operator_rows(states) == true_operator_rows(truth)
    assert {*states.skipped["epoch"]} == {*range(last + 1)} - {epoch.epoch for epoch in truth}


class Spoiler:
    """Changes the values behind a prefix at some blocks, until it is told to leave them alone."""

    def __init__(
        self, prefix: str, change: Callable[[str], str | None], *, at: str | frozenset[str]
    ) -> None:
        self.active = True
        self._prefix, self._change = prefix, change
        self._at = frozenset({at}) if isinstance(at, str) else at

    async def __call__(self, call: Call) -> object:
        answer = own_copy(call)
        method, params = call.request["method"], call.request["params"]
        if self.active and method == "state_queryStorageAt" and params[1] in self._at:
            for change in answer["result"][0]["changes"]:
                if change[0].startswith(self._prefix) and change[1]:
                    change[1] = self._change(change[1])
        return answer


def _keyed(frame: pl.DataFrame) -> Rows:
    return {(epoch, operator): tuple(rest) for epoch, operator, *rest in frame.rows()}
