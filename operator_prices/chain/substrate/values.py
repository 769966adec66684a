"""What fits: raw values to columns by their layouts; what does not fit is kept apart, with why."""

from collections.abc import Collection, Mapping

import polars as pl

from operator_prices.chain.port import AMOUNT
from operator_prices.chain.substrate.decode import FITS, decode, octets
from operator_prices.chain.substrate.layout import Layout, Struct, Unsigned, fixed_size, names
from operator_prices.chain.substrate.layout import Sequence as SequenceLayout
from operator_prices.chain.substrate.runtimes import UNREADABLE, Runtime, Runtimes
from operator_prices.chain.substrate.storage import FOUND, State

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
    "Deposits": {
        "known.shares": AMOUNT,
        "known.storage_fee_deposit": AMOUNT,
        "pending": pl.String(),
        "pending.effective_domain_epoch.1": pl.UInt32(),
        "pending.amount": AMOUNT,
        "pending.storage_fee_deposit": AMOUNT,
    },
    "Withdrawals": {
        "withdrawals": pl.Binary(),
        "withdrawals count": pl.Int64(),
        "withdrawal_in_shares": pl.String(),
        "withdrawal_in_shares.domain_epoch.1": pl.UInt32(),
        "withdrawal_in_shares.unlock_at_confirmed_domain_block_number": pl.UInt32(),
        "withdrawal_in_shares.shares": AMOUNT,
        "withdrawal_in_shares.storage_fee_refund": AMOUNT,
    },
    "DepositOnHold": {"value": AMOUNT},
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
    "withdrawals": Struct(
        (
            ("unlock_at_confirmed_domain_block_number", Unsigned(4)),
            ("amount_to_unlock", Unsigned(16)),
            ("storage_fee_refund", Unsigned(16)),
        )
    ),
}
"""The entries of collections in a staking summary and in `Withdrawals`, as they must be to be taken
apart."""


class Values:
    """Decodes raw values item by item; what does not fit its layout goes to `misfits`."""

    def __init__(self, runtimes: Runtimes) -> None:
        self.misfits: list[pl.DataFrame] = []
        self._runtimes = runtimes

    def default(self, item: str, state: State) -> str | None:
        """The raw value that stands for an absent one; None where absence means nothing."""
        if item not in DEFAULTED:
            return None
        known = self._runtimes.known(state.spec_version).items.get(item)
        return known.default if known else None

    def decoded(self, item: str, found: pl.DataFrame) -> pl.DataFrame:
        """`found` with the fields of its values as columns, without those that do not fit."""
        shape = {**FOUND, **SHAPES[item]}
        parts = []
        for part in _by_version(found):
            version = int(part["spec_version"][0])
            runtime = self._runtimes.known(version)
            layout = runtime.items[item].layout if item in runtime.items else None
            lacking = _lacking(item, layout)
            if layout is None or lacking:
                reason = f"spec version {version} has no {' and no '.join(lacking)}"
                self.quarantine(item, part.with_columns(reason=pl.lit(reason)))
                continue
            read = decode(layout, octets_of(part))
            parts.append(conform(self.fitting(item, part, read, runtime), shape))
        return pl.concat(parts) if parts else pl.DataFrame(schema=shape)

    def fitting(
        self, item: str, found: pl.DataFrame, read: pl.DataFrame, runtime: Runtime | None = None
    ) -> pl.DataFrame:
        """Rows whose value fits its layout, by the slow path where the fast one gives up."""
        if read[FITS].all():
            return found.hstack([column for column in read if column.name != FITS])
        both = found.hstack(read)
        misfits = both.filter(~pl.col(FITS))
        good = both.filter(FITS).drop(FITS)
        rescued, lost = [], []
        for row in misfits.select(found.columns).iter_rows(named=True):
            try:
                rescued.append({**row, **_slow(item, row["raw"], runtime)})
            except UNREADABLE as error:
                lost.append({**row, "reason": _misfit(item, row, error)})
        if lost:
            self.quarantine(item, pl.DataFrame(lost, schema_overrides=FOUND))
        if rescued:
            good = pl.concat([good, pl.DataFrame(rescued, schema=good.schema)])
        return good

    def epochs_with_misfits(self, items: Collection[str]) -> set[int]:
        """The epochs at which a value of some items did not fit."""
        return {
            epoch
            for misfits in self.misfits
            if misfits["item"][0] in items
            for epoch in misfits["epoch"]
        }

    def quarantine(self, item: str, rows: pl.DataFrame) -> None:
        if not rows.is_empty():
            self.misfits.append(rows.with_columns(item=pl.lit(item)))


def _by_version(found: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of each spec version; most often there is but one."""
    if found["spec_version"].n_unique() == 1:
        return [found]
    return found.partition_by("spec_version", maintain_order=True)


def conform(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Exactly the columns of `schema`; a column that nothing told is null."""
    if frame.schema == pl.Schema(schema):
        return frame
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )


def octets_of(found: pl.DataFrame) -> pl.Series:
    """The bytes behind the hex of column `raw`."""
    return found.select(octets(pl.col("raw"))).to_series()


def _lacking(item: str, layout: Layout | None) -> list[str]:
    """What cannot be read for want of a field, or of the whole item."""
    if layout is None:
        return [f"storage item {item}"]
    if not isinstance(layout, Struct):
        return []
    there = names(layout)
    needed = {name.removesuffix(" count") for name in SHAPES[item]} - OPTIONAL_FIELDS
    changed = {
        name
        for name, member in layout.fields
        if name in SHAPES[item]
        and name in COLLECTIONS
        and member != SequenceLayout(COLLECTIONS[name])
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
        isinstance(member, SequenceLayout) or names(member) for _, member in layout.fields
    ):
        raise ValueError(f"{len(data)} bytes do not fit a layout of {fixed_size(layout)}")
    return {name: _flat(value[name]) for name, _ in layout.fields}


def _flat(value: object) -> object:
    """An enum with contents comes as `{variant: contents}`; the variant's name is what is kept."""
    return next(iter(value)) if isinstance(value, dict) else value
