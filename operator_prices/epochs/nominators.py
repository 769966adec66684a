"""What nominators have, from chain states to the table of raw facts and back: Polars in and out."""

import orjson
import polars as pl

from operator_prices.chain import NOMINATORS
from operator_prices.epochs.tables import RAW_NOMINATORS

LISTED = "NominatorListing"
"""The item under which a listing that differs from what was followed is in quarantine."""

QUARANTINED = ("Deposits", "Withdrawals", "DepositOnHold", LISTED)
"""The items of nominators in quarantine: they make no epoch incomplete."""

RENAMED = {name: f"{name}_raw" for name in NOMINATORS if f"{name}_raw" in RAW_NOMINATORS.columns}
"""The amounts, and what they are called in the table."""


def raw_nominators(entries: pl.DataFrame, source: str) -> pl.DataFrame:
    """Entries (`NOMINATORS`) as rows of the table of raw facts; amounts of lists are text."""
    return (
        entries.rename(RENAMED)
        .with_columns(
            pl.Series("unlocking", [_text(one) for one in entries["unlocking"]], dtype=pl.String),
            source=pl.lit(source),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in RAW_NOMINATORS.columns.items())
    )


def entries(raw: pl.DataFrame) -> pl.DataFrame:
    """The entries (`NOMINATORS`) that rows of the table of raw facts say."""
    lists = [_list(text) for text in raw["unlocking"]]
    return (
        raw.rename({told: name for name, told in RENAMED.items()})
        .with_columns(pl.Series("unlocking", lists, dtype=NOMINATORS["unlocking"]))
        .select(pl.col(name).cast(dtype) for name, dtype in NOMINATORS.items())
    )


def _text(unlocking: pl.Series | None) -> str | None:
    if unlocking is None:
        return None
    return orjson.dumps(
        [
            {
                "block": one["block"],
                "amount": str(one["amount"]),
                "storage_fee_refund": str(one["storage_fee_refund"]),
            }
            for one in unlocking
        ]
    ).decode()


def _list(text: str | None) -> list[dict[str, int]] | None:
    if text is None:
        return None
    return [{name: int(value) for name, value in one.items()} for one in orjson.loads(text)]
