"""What is read at a block: the storage keys that are asked for, and the values that came."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.boundaries import BEFORE_THE_DOMAIN

LAST_RUNTIME_UPGRADE = keys.prefix("System", "LastRuntimeUpgrade")
NUMBER = keys.prefix("System", "Number")
PARENT_HASH = keys.prefix("System", "ParentHash")
NOW = keys.prefix("Timestamp", "Now")
NEXT_OPERATOR_ID = keys.prefix("Domains", "NextOperatorId")
TREASURY = keys.prefix("Domains", "AccumulatedTreasuryFunds")
STAKING_SUMMARY = keys.prefix("Domains", "DomainStakingSummary")

FOUND = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "operator_id": pl.UInt64(),
        "block_hash": pl.String(),
        "spec_version": pl.UInt32(),
        "storage_key": pl.String(),
        "raw": pl.String(),
    }
)
"""A value as it came, with where it was found; `operator_id` is null where none is in the key."""


@dataclass(frozen=True, slots=True)
class State:
    """Some storage values of one block, by storage key; None where the chain stores nothing."""

    block_hash: str
    block: int
    values: Mapping[str, str | None]
    spec_version: int = 0
    """Of the runtime that executed the block."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """The end of an epoch: its last block, and the block that moved the epoch index on."""

    epoch: int
    end: State
    transition: State


def number(raw: str) -> int:
    """A little-endian unsigned integer of any width.

    >>> number("0x0201")
    258
    """
    return int.from_bytes(bytes.fromhex(raw[2:]), "little")


def spec_version(last_runtime_upgrade: str) -> int:
    """The compact spec version at the start of a `System.LastRuntimeUpgrade` value.

    >>> spec_version("0x187375627370616365")
    6
    """
    data = bytes.fromhex(last_runtime_upgrade[2:])
    mode = data[0] & 3
    if mode == 3:  # noqa: PLR2004
        return int.from_bytes(data[1 : 5 + (data[0] >> 2)], "little")
    return int.from_bytes(data[: 1 << mode], "little") >> 2


def transition_keys(operators: Sequence[int], domain_id: int, epoch: int) -> list[str]:
    """What is read at a transition block; prices first appear there."""
    return [
        *_plain_keys(domain_id),
        PARENT_HASH,
        *keys.of_operators("Operators", operators),
        *keys.of_share_prices(operators, domain_id, epoch),
    ]


def end_keys(operators: Sequence[int], domain_id: int) -> list[str]:
    """What is read at an end block."""
    return [
        *_plain_keys(domain_id),
        *keys.of_operators("Operators", operators),
        *keys.of_operators("OperatorIdOwner", operators),
    ]


def _plain_keys(domain_id: int) -> list[str]:
    return [
        keys.of_domain("DomainStakingSummary", domain_id),
        LAST_RUNTIME_UPGRADE,
        NUMBER,
        NOW,
        TREASURY,
        keys.of_domain("DomainChainRewards", domain_id),
    ]


def epoch_index(state: State) -> int:
    """The domain's epoch index at a block: the first four bytes of the staking summary."""
    summary = next(value for key, value in state.values.items() if key.startswith(STAKING_SUMMARY))
    return BEFORE_THE_DOMAIN if summary is None else number(summary[:10])


def values_in(answer: Any, asked: Sequence[str]) -> dict[str, str | None] | None:  # noqa: ANN401
    """The values of `asked` in an answer to `state_queryStorageAt`, in the order of `asked`.

    None where it is no such answer, or lacks one of them. The keys are those that were asked for,
    which many answers share: the copies that came with each are most of what it takes to keep.
    """
    try:
        changes = [pair for change_set in answer for pair in change_set["changes"]]
        if [key for key, _ in changes] == asked:  # a node tells them in the order of the question
            return dict(zip(asked, [value for _, value in changes], strict=True))
        told = dict(changes)
        return dict(zip(asked, map(told.__getitem__, asked), strict=True))
    except (TypeError, KeyError, ValueError):
        return None


class Seen:
    """A state of each of some epochs; what is stored there is told row by row (`FOUND`)."""

    def __init__(self, states: Sequence[tuple[int, State]]) -> None:
        self.states = states
        self._places = pl.DataFrame(
            {
                "epoch": [epoch for epoch, _ in states],
                "block_hash": [state.block_hash for _, state in states],
                "spec_version": [state.spec_version for _, state in states],
            },
            schema_overrides=FOUND,
        )

    def plain(self, key: str, default: Callable[[State], str | None]) -> pl.DataFrame:
        """The value of one key in each state, and `default` where it has none.

        What has no default either makes no row.
        """
        return _rows(
            self._places,
            operators=pl.Series([None] * len(self.states), dtype=pl.UInt64),
            keys=pl.Series([key] * len(self.states), dtype=pl.String),
            raw=[
                default(state) if state.values[key] is None else state.values[key]
                for _, state in self.states
            ],
        )

    def absent(self, key: str) -> pl.DataFrame:
        """The states that have no value at `key`, with `raw` null."""
        lacking = pl.Series(
            [state.values[key] is None for _, state in self.states], dtype=pl.Boolean
        )
        return self._places.filter(lacking).select(
            "epoch",
            pl.lit(None, pl.UInt64).alias("operator_id"),
            "block_hash",
            "spec_version",
            pl.lit(key).alias("storage_key"),
            pl.lit(None, pl.String).alias("raw"),
        )

    def of_operators(
        self, operators: Sequence[int], keys_of: Callable[[int], Sequence[str]]
    ) -> pl.DataFrame:
        """The values at `keys_of(epoch)`, one key an operator, in each state."""
        asked = [(state, keys_of(epoch)) for epoch, state in self.states]
        rows = pl.int_range(len(asked) * len(operators), eager=True)
        return _rows(
            self._places[rows // len(operators)],
            operators=pl.Series(operators, dtype=pl.UInt64)[rows % len(operators)],
            keys=pl.Series([key for _, wanted in asked for key in wanted], dtype=pl.String),
            raw=[state.values[key] for state, wanted in asked for key in wanted],
        )


def _rows(
    places: pl.DataFrame, operators: pl.Series, keys: pl.Series, raw: list[str | None]
) -> pl.DataFrame:
    found = pl.DataFrame(
        [
            places["epoch"],
            operators.alias("operator_id"),
            places["block_hash"],
            places["spec_version"],
            keys.alias("storage_key"),
            pl.Series("raw", raw, dtype=pl.String),
        ]
    )
    return found.filter(found["raw"].is_not_null()) if None in raw else found
