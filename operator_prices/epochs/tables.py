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
            "owned_by": pl.String(),
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

NOMINATOR_EPOCHS = Table(
    name="nominator_epochs",
    columns=pl.Schema(
        {
            "epoch": pl.UInt32(),
            "end_hash": pl.String(),
            "listed": pl.Boolean(),
            "complete": pl.Boolean(),
            "head_domain_number": pl.UInt32(),
            "source": pl.String(),
        }
    ),
    key=("epoch",),
    sources=("legacy", "chain"),
)

RAW_NOMINATORS = Table(
    name="raw_nominators",
    columns=pl.Schema(
        {
            "epoch": pl.UInt32(),
            "operator_id": pl.UInt64(),
            "nominator": pl.String(),
            "shares_raw": AMOUNT,
            "storage_fee_deposit_raw": AMOUNT,
            "pending_epoch": pl.UInt32(),
            "pending_raw": AMOUNT,
            "pending_storage_fee_raw": AMOUNT,
            "unlocking": pl.String(),
            "withdrawing_epoch": pl.UInt32(),
            "withdrawing_block": pl.UInt32(),
            "withdrawing_shares_raw": AMOUNT,
            "withdrawing_storage_fee_raw": AMOUNT,
            "on_hold_raw": AMOUNT,
            "pending_price_perq": pl.UInt64(),
            "withdrawing_price_perq": pl.UInt64(),
            "source": pl.String(),
        }
    ),
    key=("epoch", "operator_id", "nominator"),
    sources=("legacy", "chain"),
)

NOMINATOR_POSITIONS = Table(
    name="nominator_positions",
    columns=pl.Schema(
        {
            "operator_id": pl.UInt64(),
            "nominator": pl.String(),
            "epoch": pl.UInt32(),
            "until_epoch": pl.UInt32(),
            "ended": pl.Boolean(),
            "shares_raw": AMOUNT,
            "pending_raw": AMOUNT,
            "withdrawing_shares_raw": AMOUNT,
            "unlocking_raw": AMOUNT,
            "unlocking": pl.String(),
            "storage_fee_deposit_raw": AMOUNT,
            "on_hold_raw": AMOUNT,
            "deposited_raw": AMOUNT,
            "deposited_storage_fee_raw": AMOUNT,
            "tax_raw": AMOUNT,
            "tax_storage_fee_raw": AMOUNT,
            "withdrawn_shares_raw": AMOUNT,
            "released_raw": AMOUNT,
            "released_storage_fee_raw": AMOUNT,
            "source": pl.String(),
        }
    ),
    key=("operator_id", "nominator", "epoch"),
    sources=("legacy", "chain"),
)

TABLES = {
    table.name: table
    for table in (
        *(EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES, OPERATORS_METADATA),
        *(NOMINATOR_EPOCHS, RAW_NOMINATORS, NOMINATOR_POSITIONS),
    )
}
