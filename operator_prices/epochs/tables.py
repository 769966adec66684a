"""The tables the pipeline owns. An asset and its table share one name."""

from dataclasses import dataclass

import polars as pl

from operator_prices.chain import AMOUNT


@dataclass(frozen=True, slots=True)
class Table:
    """A table of Postgres as the pipeline sees it: the columns it writes, and their key."""

    name: str
    columns: pl.Schema
    key: tuple[str, ...]
    sources: tuple[str, ...] = ()
    """Where a row may come from, weakest first: none gives way to one from a weaker source."""

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(column for column in self.columns if column not in self.key)


EPOCHS = Table(
    name="epochs",
    columns=pl.Schema(
        {
            "epoch": pl.UInt32(),
            "end_block": pl.UInt32(),
            "end_hash": pl.String(),
            "timestamp": pl.UInt64(),
            "data": pl.String(),
            "domain_id": pl.UInt32(),
            "source": pl.String(),
            "spec_version": pl.UInt32(),
            "transition_block": pl.UInt32(),
            "transition_hash": pl.String(),
            "complete": pl.Boolean(),
        }
    ),
    key=("epoch",),
    sources=("legacy", "chain"),
)

OPERATOR_SHARE_PRICES = Table(
    name="operator_share_prices",
    columns=pl.Schema(
        {
            "epoch": pl.UInt32(),
            "operator_id": pl.UInt64(),
            "share_price_perq": pl.UInt64(),
            "source": pl.String(),
        }
    ),
    key=("epoch", "operator_id"),
    sources=("derived", "epochs_json", "chain"),
)

OPERATOR_SHARES = Table(
    name="operator_shares",
    columns=pl.Schema(
        {
            "epoch": pl.UInt32(),
            "operator_id": pl.UInt64(),
            "shares_raw": AMOUNT,
            "stake_raw": AMOUNT,
            "active_stake_raw": AMOUNT,
            "reward_raw": AMOUNT,
            "storage_fee_deposit_raw": AMOUNT,
            "nomination_tax": pl.UInt8(),
            "status": pl.String(),
            "shares_after_raw": AMOUNT,
            "stake_after_raw": AMOUNT,
            "source": pl.String(),
        }
    ),
    key=("epoch", "operator_id"),
    sources=("legacy", "chain"),
)

OPERATORS_METADATA = Table(
    name="operators_metadata",
    columns=pl.Schema(
        {
            "operator_id": pl.UInt64(),
            "first_seen_epoch": pl.UInt32(),
            "last_seen_epoch": pl.UInt32(),
            "owner": pl.String(),
            "signing_key": pl.String(),
            "nomination_tax": pl.UInt8(),
            "minimum_nominator_stake": AMOUNT,
            "status": pl.String(),
        }
    ),
    key=("operator_id",),
)

TABLES = {
    table.name: table
    for table in (EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES, OPERATORS_METADATA)
}
