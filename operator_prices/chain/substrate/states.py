"""From the raw storage values of end and transition blocks to the frames that cross the port."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import polars as pl
from scalecodec.utils.ss58 import ss58_encode

from operator_prices.amounts import ONE, PERBILL
from operator_prices.chain.port import (
    AMOUNT,
    EPOCH_FACTS,
    OPERATOR_FACTS,
    PRICE_FACTS,
    QUARANTINED,
    SKIPPED,
    STAKING,
    EpochStates,
)
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.decode import FITS, decode, entries, octets
from operator_prices.chain.substrate.layout import Layout, Struct, Unsigned, fixed_size
from operator_prices.chain.substrate.layout import Sequence as SequenceLayout
from operator_prices.chain.substrate.runtimes import UNREADABLE, Runtime, Runtimes

LAST_RUNTIME_UPGRADE = keys.prefix("System", "LastRuntimeUpgrade")
NUMBER = keys.prefix("System", "Number")
PARENT_HASH = keys.prefix("System", "ParentHash")
NOW = keys.prefix("Timestamp", "Now")
NEXT_OPERATOR_ID = keys.prefix("Domains", "NextOperatorId")
TREASURY = keys.prefix("Domains", "AccumulatedTreasuryFunds")

OPERATOR_FIELDS = {
    "signing_key": "signing_key",
    "current_domain_id": "current_domain_id",
    "minimum_nominator_stake": "minimum_nominator_stake",
    "nomination_tax": "nomination_tax",
    "current_total_stake": "stake",
    "current_total_shares": "shares",
    "partial_status": "status",
    "deposits_in_epoch": "deposits_in_epoch",
    "withdrawals_in_epoch": "withdrawals_in_epoch",
    "total_storage_fee_deposit": "storage_fee_deposit",
}
"""The fields of an `Operators` value that are kept, and what they are called from here on."""

DEFAULTED = {"AccumulatedTreasuryFunds", "DomainChainRewards"}
"""Items that stand for their default, zero, where a state has none."""

OPTIONAL_FIELDS = {
    "minimum_nominator_stake",
    "deposits_in_epoch",
    "withdrawals_in_epoch",
    "total_storage_fee_deposit",
}
"""Fields without which an `Operators` value still says what matters; they are null then."""

SHAPES: Mapping[str, Mapping[str, pl.DataType]] = {
    "DomainStakingSummary": {
        "current_epoch_index": pl.UInt32(),
        "current_total_stake": AMOUNT,
        "current_operators": pl.Binary(),
        "current_operators count": pl.Int64(),
        "next_operators": pl.Binary(),
        "next_operators count": pl.Int64(),
        "current_epoch_rewards": pl.Binary(),
        "current_epoch_rewards count": pl.Int64(),
    },
    "Operators": {
        "signing_key": pl.String(),
        "current_domain_id": pl.UInt32(),
        "minimum_nominator_stake": AMOUNT,
        "nomination_tax": pl.UInt8(),
        "current_total_stake": AMOUNT,
        "current_total_shares": AMOUNT,
        "partial_status": pl.String(),
        "deposits_in_epoch": AMOUNT,
        "withdrawals_in_epoch": AMOUNT,
        "total_storage_fee_deposit": AMOUNT,
    },
    "OperatorIdOwner": {"value": pl.String()},
    "OperatorEpochSharePrice": {"value": pl.UInt64()},
    "Now": {"value": pl.UInt64()},
    "AccumulatedTreasuryFunds": {"value": AMOUNT},
    "DomainChainRewards": {"value": AMOUNT},
}
"""The fields of each item that are read, and what they are read as."""

_AMOUNT_BY_OPERATOR = Struct((("0", Unsigned(8)), ("1", Unsigned(16))))

COLLECTIONS: Mapping[str, Layout] = {
    "current_operators": _AMOUNT_BY_OPERATOR,
    "current_epoch_rewards": _AMOUNT_BY_OPERATOR,
    "next_operators": Unsigned(8),
}
"""The entries of the collections of a staking summary, as they must be to be taken apart."""

_FOUND = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "operator_id": pl.UInt64(),
        "block_hash": pl.String(),
        "spec_version": pl.UInt32(),
        "storage_key": pl.String(),
        "raw": pl.String(),
    }
)


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


def assemble(
    boundaries: Sequence[Boundary],
    *,
    skipped: Mapping[int, State],
    operators: Sequence[int],
    domain_id: int,
    runtimes: Runtimes,
) -> EpochStates:
    """Decode all values at once, item by item; what does not fit goes to `quarantined`."""
    reading = _Reading(operators, domain_id, runtimes)
    ends = [(boundary.epoch, boundary.end) for boundary in boundaries]
    transitions = [(boundary.epoch, boundary.transition) for boundary in boundaries]

    end_facts, staking = reading.plain(ends)
    transition_facts, _ = reading.plain(transitions)
    at_end, presence = reading.operators(ends)
    at_transition, _ = reading.operators(transitions)
    owners = reading.owners(ends)
    prices = reading.prices(transitions, presence)

    blocks = pl.DataFrame(
        {
            "epoch": [boundary.epoch for boundary in boundaries],
            "end_block": [boundary.end.block for boundary in boundaries],
            "end_hash": [boundary.end.block_hash for boundary in boundaries],
            "spec_version": [boundary.end.spec_version for boundary in boundaries],
            "transition_block": [boundary.transition.block for boundary in boundaries],
            "transition_hash": [boundary.transition.block_hash for boundary in boundaries],
            "transition_spec_version": [b.transition.spec_version for b in boundaries],
        },
        schema_overrides=EPOCH_FACTS,
    )
    after = {
        "timestamp": "transition_timestamp",
        "total_stake": "total_stake_after",
        "treasury_funds": "treasury_funds_after",
        "chain_rewards": "chain_rewards_after",
    }
    of_operator = ["epoch", "operator_id"]
    summaries = end_facts.select("epoch", understood=pl.col("total_stake").is_not_null())
    return EpochStates(
        epochs=_conform(
            blocks.join(end_facts, on="epoch", how="left").join(
                transition_facts.rename(after), on="epoch", how="left"
            ),
            EPOCH_FACTS,
        ),
        operators=_conform(
            at_end.join(owners, on=of_operator, how="left")
            .join(staking, on=of_operator, how="left")
            .join(
                at_transition.select(
                    *of_operator,
                    stake_after="stake",
                    shares_after="shares",
                    status_after="status",
                ),
                on=of_operator,
                how="left",
            )
            .join(summaries, on="epoch", how="left")
            .with_columns(_zero_where_absent("active_stake"), _zero_where_absent("reward")),
            OPERATOR_FACTS,
        ),
        prices=_conform(prices, PRICE_FACTS),
        staking=_conform(staking, STAKING),
        quarantined=_conform(_stacked(reading.misfits, QUARANTINED), QUARANTINED),
        skipped=pl.DataFrame(
            [(epoch, state.block, state.block_hash) for epoch, state in skipped.items()],
            schema=SKIPPED,
            orient="row",
        ),
    )


def concat(parts: Iterable[EpochStates]) -> EpochStates:
    """All parts one after the other."""
    all_parts = [EpochStates.empty(), *parts]
    return EpochStates(
        *(
            pl.concat([getattr(part, field.name) for part in all_parts])
            for field in fields(EpochStates)
        )
    )


def _staking(summary: pl.DataFrame) -> pl.DataFrame:
    """The three collections of staking summaries, side by side."""

    def each(name: str, **columns: str) -> pl.DataFrame:
        kept = summary.select("epoch", name, f"{name} count")
        return entries(kept, name, COLLECTIONS[name]).select("epoch", **columns)

    active = each("current_operators", operator_id="0", active_stake="1")
    rewards = each("current_epoch_rewards", operator_id="0", reward="1")
    followers = each("next_operators", operator_id="value").with_columns(is_next=pl.lit(value=True))
    on = ["epoch", "operator_id"]
    return (
        active.join(rewards, on=on, how="full", coalesce=True)
        .join(followers, on=on, how="full", coalesce=True)
        .sort(on)
    )


def _zero_where_absent(column: str) -> pl.Expr:
    """Who the staking summary does not name has none; an unread summary says nothing."""
    return pl.when("understood").then(pl.col(column).fill_null(pl.lit(0, pl.UInt128)))


def _stacked(frames: Sequence[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema), *(_conform(frame, schema) for frame in frames)])


def _conform(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Exactly the columns of `schema`; a column that nothing told is null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )


class _Reading:
    """Decodes one batch of states, keeping what does not fit in `misfits`."""

    def __init__(self, operators: Sequence[int], domain_id: int, runtimes: Runtimes) -> None:
        self.misfits: list[pl.DataFrame] = []
        self._operators = list(operators)
        self._domain_id = domain_id
        self._runtimes = runtimes

    def plain(self, states: Sequence[tuple[int, State]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The facts of each epoch, and what its staking summary says of operators."""
        summary = self._decoded(
            "DomainStakingSummary",
            self._single(states, keys.of_domain("DomainStakingSummary", self._domain_id)),
        )
        facts = summary.select("epoch", total_stake="current_total_stake")
        self._quarantine_absent("Now", NOW, states)
        for item, key, name in (
            ("Now", NOW, "timestamp"),
            ("AccumulatedTreasuryFunds", TREASURY, "treasury_funds"),
            (
                "DomainChainRewards",
                keys.of_domain("DomainChainRewards", self._domain_id),
                "chain_rewards",
            ),
        ):
            read = self._decoded(item, self._single(states, key, item))
            facts = facts.join(
                read.select("epoch", pl.col("value").alias(name)),
                on="epoch",
                how="full",
                coalesce=True,
            )
        return facts, _staking(summary)

    def operators(self, states: Sequence[tuple[int, State]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The operators of the domain; and every key at which an operator is, understood or not."""
        found = self._of_operators(states, keys.of_operators("Operators", self._operators))
        read = self._decoded("Operators", found)
        own = read.rename(OPERATOR_FIELDS)
        foreign = own.filter(pl.col("current_domain_id") != self._domain_id)
        of_operator = ["epoch", "operator_id"]
        presence = found.join(foreign, on=of_operator, how="anti").select(of_operator)
        return own.filter(pl.col("current_domain_id") == self._domain_id), presence

    def owners(self, states: Sequence[tuple[int, State]]) -> pl.DataFrame:
        found = self._of_operators(states, keys.of_operators("OperatorIdOwner", self._operators))
        read = self._decoded("OperatorIdOwner", found)
        prefixes = {state.spec_version: self._ss58_prefix(state) for _, state in states}
        unique = read.select("spec_version", "value").unique()
        addresses = unique.with_columns(
            pl.Series(
                "owner",
                [_address(value, prefixes[version]) for version, value in unique.rows()],
                dtype=pl.String,
            )
        )
        return read.join(addresses, on=["spec_version", "value"]).select(
            "epoch", "operator_id", "owner"
        )

    def prices(self, states: Sequence[tuple[int, State]], presence: pl.DataFrame) -> pl.DataFrame:
        """Stored prices in perquintills, `Perbill` scaled up; of operators present at the end."""
        found = self._of_operators(
            states,
            lambda epoch: keys.of_share_prices(self._operators, self._domain_id, epoch),
        ).join(presence, on=["epoch", "operator_id"], how="semi")
        short = pl.col("raw").str.len_chars() == len("0x") + 2 * 4
        old = found.filter(short)
        stored = self._decoded("OperatorEpochSharePrice", found.filter(~short))
        kept = pl.DataFrame(schema=PRICE_FACTS | {"raw": pl.String(), **_FOUND})
        for read, scale in (
            (stored, 1),
            (
                self._fitting("OperatorEpochSharePrice", old, decode(Unsigned(4), _bytes(old))),
                PERBILL,
            ),
        ):
            price = pl.col("value").cast(pl.UInt64) * scale
            kept = pl.concat([kept, read.with_columns(share_price_perq=price).select(kept.columns)])
        sound = pl.col("share_price_perq").is_between(1, ONE)
        self._quarantine(
            "OperatorEpochSharePrice",
            kept.filter(~sound).with_columns(
                reason=pl.format("price {} is outside (0, 10^18]", "share_price_perq")
            ),
        )
        return kept.filter(sound)

    def _ss58_prefix(self, state: State) -> int | None:
        return self._runtimes.known(state.spec_version).ss58_prefix

    def _single(
        self, states: Sequence[tuple[int, State]], key: str, item: str | None = None
    ) -> pl.DataFrame:
        """The value of one key in each state; absent ones by the default of the `DEFAULTED`."""

        def value(state: State) -> str | None:
            found = state.values[key]
            if found is None and item in DEFAULTED:
                known = self._runtimes.known(state.spec_version).items.get(item)
                return known.default if known else None
            return found

        return self._frame(
            [
                (epoch, None, state.block_hash, state.spec_version, key, value(state))
                for epoch, state in states
            ]
        )

    def _quarantine_absent(self, item: str, key: str, states: Sequence[tuple[int, State]]) -> None:
        """Name the states that lack what every block writes."""
        absent = [
            (epoch, None, state.block_hash, state.spec_version, key, None)
            for epoch, state in states
            if state.values[key] is None
        ]
        rows = pl.DataFrame(absent, schema=_FOUND, orient="row")
        self._quarantine(item, rows.with_columns(reason=pl.lit(f"the state has no {item}")))

    def _of_operators(
        self,
        states: Sequence[tuple[int, State]],
        keys_of: Sequence[str] | Callable[[int], Sequence[str]],
    ) -> pl.DataFrame:
        count = len(self._operators)
        wanted = [(keys_of(epoch) if callable(keys_of) else keys_of) for epoch, _ in states]
        columns = {
            "epoch": [epoch for epoch, _ in states for _ in range(count)],
            "operator_id": self._operators * len(states),
            "block_hash": [state.block_hash for _, state in states for _ in range(count)],
            "spec_version": [state.spec_version for _, state in states for _ in range(count)],
            "storage_key": [key for asked in wanted for key in asked],
            "raw": [
                state.values[key]
                for (_, state), asked in zip(states, wanted, strict=True)
                for key in asked
            ],
        }
        return pl.DataFrame(columns, schema=_FOUND).filter(pl.col("raw").is_not_null())

    def _frame(self, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=_FOUND, orient="row").filter(pl.col("raw").is_not_null())

    def _decoded(self, item: str, found: pl.DataFrame) -> pl.DataFrame:
        """`found` with the fields of its values as columns, without those that do not fit."""
        shape = pl.Schema({**_FOUND, **SHAPES[item]})
        parts = [pl.DataFrame(schema=shape)]
        for (version,), part in found.group_by("spec_version", maintain_order=True):
            runtime = self._runtimes.known(int(str(version)))
            layout = runtime.items[item].layout if item in runtime.items else None
            lacking = _lacking(item, layout)
            if layout is None or lacking:
                reason = f"spec version {version} has no {' and no '.join(lacking)}"
                self._quarantine(item, part.with_columns(reason=pl.lit(reason)))
                continue
            read = decode(layout, _bytes(part))
            parts.append(_conform(self._fitting(item, part, read, runtime), shape))
        return pl.concat(parts)

    def _fitting(
        self, item: str, found: pl.DataFrame, read: pl.DataFrame, runtime: Runtime | None = None
    ) -> pl.DataFrame:
        """Rows whose value fits its layout, by the slow path where the fast one gives up."""
        both = found.hstack(read)
        misfits = both.filter(~pl.col(FITS))
        good = both.filter(FITS).drop(FITS)
        if misfits.is_empty():
            return good
        rescued, lost = [], []
        for row in misfits.select(found.columns).iter_rows(named=True):
            try:
                rescued.append({**row, **_slow(item, row["raw"], runtime)})
            except UNREADABLE as error:
                lost.append({**row, "reason": _misfit(item, row, error)})
        if lost:
            self._quarantine(item, pl.DataFrame(lost, schema_overrides=_FOUND))
        if rescued:
            good = pl.concat([good, pl.DataFrame(rescued, schema=good.schema)])
        return good

    def _quarantine(self, item: str, rows: pl.DataFrame) -> None:
        if not rows.is_empty():
            self.misfits.append(rows.with_columns(item=pl.lit(item)))


def _lacking(item: str, layout: Layout | None) -> list[str]:
    """What cannot be read for want of a field, or of the whole item."""
    if layout is None:
        return [f"storage item {item}"]
    if not isinstance(layout, Struct):
        return []
    there = {name for name, _ in layout.fields}
    needed = {name.removesuffix(" count") for name in SHAPES[item]} - OPTIONAL_FIELDS
    known = COLLECTIONS if item == "DomainStakingSummary" else {}
    changed = {
        name
        for name, member in layout.fields
        if name in known and member != SequenceLayout(known[name])
    }
    return [
        *(f"field {item}.{name}" for name in sorted(needed - there)),
        *(f"known layout of {item}.{name}" for name in sorted(changed)),
    ]


def _misfit(item: str, row: Mapping[str, object], error: Exception) -> str:
    """What does not fit, at which block and version; the error is that of the slow path."""
    size = len(str(row["raw"])) // 2 - 1
    return (
        f"{size} bytes are no {item} of spec version {row['spec_version']} at block"
        f" {row['block_hash']} ({type(error).__name__}: {error})"
    )


def _slow(item: str, raw: str, runtime: Runtime | None) -> dict[str, object]:
    data = bytes.fromhex(raw[2:])
    if runtime is None:
        raise ValueError(f"{len(data)} bytes do not fit")
    value = runtime.decode_slowly(item, data)
    layout = runtime.items[item].layout
    if not isinstance(layout, Struct) or any(
        isinstance(member, SequenceLayout) for _, member in layout.fields
    ):
        raise ValueError(f"{len(data)} bytes do not fit a layout of {fixed_size(layout)}")
    return {name: _flat(value[name]) for name, _ in layout.fields}


def _flat(value: object) -> object:
    """An enum with contents comes as `{variant: contents}`; the variant's name is what is kept."""
    return next(iter(value)) if isinstance(value, dict) else value


def _bytes(found: pl.DataFrame) -> pl.Series:
    return found.select(octets(pl.col("raw"))).to_series()


def _address(account: str, prefix: int | None) -> str:
    """The SS58 form of an account id, or its hex where the chain names no prefix."""
    return account if prefix is None else str(ss58_encode(account, ss58_format=prefix))
