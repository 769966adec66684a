"""What nominators have, from chain states to the table of raw facts and back: Polars in and out."""

import polars as pl

from operator_prices.chain import NOMINATOR_ITEMS, NOMINATOR_LISTING, NOMINATORS
from operator_prices.epochs.tables import RAW_NOMINATORS

QUARANTINED = (*NOMINATOR_ITEMS, NOMINATOR_LISTING)
"""The items of nominators in quarantine: they make no epoch incomplete."""

RENAMED = {name: f"{name}_raw" for name in NOMINATORS if f"{name}_raw" in RAW_NOMINATORS.columns}
"""The amounts, and what they are called in the table."""


STORED_UNLOCKING = pl.List(
    pl.Struct({"block": pl.UInt32, "amount": pl.String, "storage_fee_refund": pl.String})
)
"""What waits for its block as the table has it, in JSON."""


def raw_nominators(entries: pl.DataFrame, source: str) -> pl.DataFrame:
    """Entries (`NOMINATORS`) as rows of the table of raw facts; amounts of lists are text."""
    each = pl.element().struct.json_encode()
    listed = pl.col("unlocking").cast(STORED_UNLOCKING).list.eval(each).list.join(",")
    return (
        entries.rename(RENAMED)
        .with_columns(
            unlocking=pl.concat_str(pl.lit("["), listed, pl.lit("]")), source=pl.lit(source)
        )
        .select(pl.col(name).cast(dtype) for name, dtype in RAW_NOMINATORS.columns.items())
    )


def entries(raw: pl.DataFrame) -> pl.DataFrame:
    """The entries (`NOMINATORS`) that rows of the table of raw facts say."""
    return (
        raw.rename({told: name for name, told in RENAMED.items()})
        .with_columns(pl.col("unlocking").str.json_decode(STORED_UNLOCKING))
        .select(pl.col(name).cast(dtype) for name, dtype in NOMINATORS.items())
    )
