"""From raw epochs to tables: Polars in, Polars out, no I/O."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl

from operator_prices.amounts import ONE
from operator_prices.chain import AMOUNT
from operator_prices.epochs.tables import (
    OPERATOR_SHARE_PRICES,
    OPERATOR_SHARES,
    OPERATORS_METADATA,
    Table,
)


def _entries(entry: dict[str, Any]) -> pl.Struct:
    return pl.Struct({"entries": pl.List(pl.Struct({"key": pl.List(pl.String), **entry}))})


OPERATOR = {
    "value": pl.Struct(
        {
            "signingKey": pl.String,
            "minimumNominatorStake": pl.String,
            "nominationTax": pl.UInt8,
            "currentTotalStake": pl.String,
            "currentTotalShares": pl.String,
            "partialStatus": pl.String,
            "totalStorageFeeDeposit": pl.String,
        }
    ),
    "owner": pl.String,
    "activeStake": pl.String,
    "reward": pl.String,
    "after": pl.Struct({"currentTotalStake": pl.String, "currentTotalShares": pl.String}),
}

WANTED = pl.Struct(
    {
        "operators": _entries(OPERATOR),
        "operatorEpochSharePrice": _entries({"value": pl.String}),
        "quarantined": pl.List(pl.Struct({"item": pl.String, "operatorId": pl.String})),
    }
)
"""What the tables need of a raw epoch."""

DECODED = 12
"""As many documents are decoded in one go: they take twenty times their size."""

DECODERS = 2
"""As many threads decode, since Polars uses one core for it and lets go of the interpreter."""


class UnreadableRawEpochError(ValueError):
    """Raw epochs that are no document of this pipeline."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What raw epochs say of operators, from which all tables are made: decoding takes longest."""

    operators: pl.DataFrame
    """One row per epoch and operator: epoch, source, operator_id and the fields of the entry."""
    prices: pl.DataFrame
    """One row per stored price: epoch, source, operator_id, value."""
    quarantined: pl.DataFrame
    """One row per value that could not be understood: epoch, item, operatorId."""


def decoded(raw: pl.DataFrame) -> Decoded:
    """Decode the documents of raw epochs, some at a time.

    Raises `UnreadableRawEpochError` for what is no document of this pipeline.
    """
    slices = [raw[first : first + DECODED] for first in range(0, max(1, raw.height), DECODED)]
    with ThreadPoolExecutor(DECODERS) as decoders:
        documents = pl.concat(decoders.map(_documents, slices))
    quarantined = documents.select("epoch", entry=pl.col("document").struct.field("quarantined"))
    return Decoded(
        _section(documents, "operators"),
        _section(documents, "operatorEpochSharePrice"),
        _exploded(quarantined),
    )


def operator_share_prices(told: Decoded) -> pl.DataFrame:
    """One row per epoch and operator that has a price, with the columns of its table.

    The stored price where the chain stored one (`chain`, or `epochs_json` where a legacy snapshot
    tells of it), else the price that the end block's state implies (`derived`); none for an
    operator whose stored price is in quarantine.
    """
    prices = _told_prices(told)
    stored = pl.col("source").is_not_null()
    derived = derived_prices(prices.filter(~stored)).with_columns(source=pl.lit("derived"))
    columns = [pl.col(name).cast(dtype) for name, dtype in OPERATOR_SHARE_PRICES.columns.items()]
    both = pl.concat([prices.filter(stored).select(columns), derived.select(columns)])
    return both.sort(OPERATOR_SHARE_PRICES.key)


def _told_prices(told: Decoded) -> pl.DataFrame:
    """The stored prices, and each operator without one beside what its worth was."""
    stored = told.prices.select(
        "epoch",
        "operator_id",
        share_price_perq=pl.col("value").cast(pl.UInt64),
        source=pl.when(pl.col("source") == "legacy")
        .then(pl.lit("epochs_json"))
        .otherwise(pl.lit("chain")),
    )
    withheld = told.quarantined.filter(pl.col("item") == "OperatorEpochSharePrice").select(
        "epoch", operator_id=pl.col("operatorId").cast(pl.UInt64)
    )
    of_operator = ["epoch", "operator_id"]
    unpriced = (
        told.operators.join(stored, on=of_operator, how="anti")
        .join(withheld, on=of_operator, how="anti")
        .select(*of_operator, *_worth())
    )
    return pl.concat([stored, unpriced], how="diagonal")


def operator_shares(told: Decoded) -> pl.DataFrame:
    """One row per epoch and operator present at its end block, with the columns of its table."""
    return _shares(told.operators).select(
        pl.col(name).cast(dtype) for name, dtype in OPERATOR_SHARES.columns.items()
    )


def operators_metadata(told: Decoded) -> pl.DataFrame:
    """One row per operator seen in these epochs, with what the last of them says of it."""
    return (
        _people(told.operators)
        .sort("epoch")
        .group_by("operator_id")
        .agg(
            pl.col("epoch").min().alias("first_seen_epoch"),
            pl.col("epoch").max().alias("last_seen_epoch"),
            pl.col("owner").drop_nulls().last(),
            pl.col("signing_key", "nomination_tax", "minimum_nominator_stake", "status")
            .drop_nulls()
            .last(),
        )
        .sort("operator_id")
        .select(pl.col(name).cast(dtype) for name, dtype in OPERATORS_METADATA.columns.items())
    )


def impossible(table: Table, rows: pl.DataFrame) -> str:
    """What makes rows unfit to be written, in words that name an offender; empty if nothing does.

    Two rows of one key, a price that is not in 1..10^18, or more shares than stake.
    """
    found = []
    faults = [("is there twice", rows.select(table.key).is_duplicated())]
    if "share_price_perq" in rows.columns:
        price = pl.col("share_price_perq")
        faults.append(
            ("has no price in 1..10^18", ~rows.select(price.is_between(1, ONE)).to_series())
        )
    if "shares_raw" in rows.columns:
        more = (pl.col("shares_raw") > pl.col("stake_raw")).fill_null(value=False)
        faults.append(("has more shares than stake", rows.select(more).to_series()))
    for fault, mask in faults:
        if mask.any():
            first = rows.filter(mask).row(0, named=True)
            of = " ".join(f"{name} {first[name]}" for name in table.key)
            found.append(f"{of} {fault} (and {mask.sum() - 1} other rows)")
    return "; ".join(found)


def derived_prices(operators: pl.DataFrame) -> pl.DataFrame:
    """The price at the close of an epoch that the end block's state implies, in perquintills.

    `floor(shares * 10^18 / (stake + reward - floor(reward * tax / 100)))`, as the pallet's
    finalization computes it; none without shares or stake, with an unknown reward, or where the
    result is no price (above 10^18 or zero). Columns: epoch, operator_id, share_price_perq.
    """
    needed = ("reward_raw", "stake_raw", "nomination_tax")
    known = operators.drop_nulls(needed).filter(pl.col("shares_raw") > 0)
    fits = pl.max_horizontal("shares_raw", "stake_raw", "reward_raw") < pl.lit(2**96, AMOUNT)
    reward = pl.col("reward_raw")
    tax = reward * pl.col("nomination_tax").cast(AMOUNT) // pl.lit(100, AMOUNT)
    fast = (
        known.filter(fits)
        .with_columns(worth=pl.col("stake_raw") + reward - tax)
        .filter(pl.col("worth") > 0)
        .with_columns(price=_divided(pl.col("shares_raw"), pl.col("worth")))
        .select("epoch", "operator_id", pl.col("price"))
    )
    wide = [
        (epoch, operator, price)
        for epoch, operator, shares, stake, reward, tax in known.filter(~fits)
        .select("epoch", "operator_id", "shares_raw", "stake_raw", "reward_raw", "nomination_tax")
        .iter_rows()
        if (worth := stake + reward - reward * tax // 100)
        and (price := shares * ONE // worth) <= ONE
    ]
    return (
        pl.concat([fast, pl.DataFrame(wide, schema=fast.schema, orient="row")])
        .filter(pl.col("price").is_between(1, ONE))
        .select("epoch", "operator_id", share_price_perq=pl.col("price").cast(pl.UInt64))
    )


def _divided(shares: pl.Expr, worth: pl.Expr) -> pl.Expr:
    """`floor(shares * 10^18 / worth)`: two steps of 10^9, since the product exceeds 128 bits."""
    billion = pl.lit(10**9, AMOUNT)
    scaled = shares * billion
    return scaled // worth * billion + scaled % worth * billion // worth


def _shares(operators: pl.DataFrame) -> pl.DataFrame:
    after = pl.col("after").struct
    return operators.select(
        "epoch",
        "source",
        "operator_id",
        *_worth(),
        owned_by=pl.col("owner"),
        status=_value("partialStatus"),
        storage_fee_deposit_raw=_amount(_value("totalStorageFeeDeposit")),
        active_stake_raw=_amount(pl.col("activeStake")),
        stake_after_raw=_amount(after.field("currentTotalStake")),
        shares_after_raw=_amount(after.field("currentTotalShares")),
    )


def _worth() -> list[pl.Expr]:
    return [
        _value("nominationTax").alias("nomination_tax"),
        _amount(_value("currentTotalStake")).alias("stake_raw"),
        _amount(_value("currentTotalShares")).alias("shares_raw"),
        _amount(pl.col("reward")).alias("reward_raw"),
    ]


def _people(operators: pl.DataFrame) -> pl.DataFrame:
    return operators.select(
        "epoch",
        "operator_id",
        "owner",
        signing_key=_value("signingKey"),
        minimum_nominator_stake=_amount(_value("minimumNominatorStake")),
        nomination_tax=_value("nominationTax"),
        status=_value("partialStatus"),
    )


def _section(documents: pl.DataFrame, name: str) -> pl.DataFrame:
    entries = pl.col("document").struct.field(name).struct.field("entries")
    operator_id = pl.col("key").list.first().cast(pl.UInt64)
    return _exploded(documents.select("epoch", "source", entry=entries)).with_columns(
        operator_id=operator_id
    )


def _exploded(lists: pl.DataFrame) -> pl.DataFrame:
    return lists.explode("entry", empty_as_null=False, keep_nulls=False).unnest("entry")


def _value(name: str) -> pl.Expr:
    return pl.col("value").struct.field(name)


def _amount(text: pl.Expr) -> pl.Expr:
    return text.str.to_integer(base=10, dtype=AMOUNT, strict=True)


def _documents(raw: pl.DataFrame) -> pl.DataFrame:
    """Decode what is wanted of `data` of each row, sure of which document belongs to which epoch.

    Polars joins all rows into one JSON document, so each row is wrapped with its number and must
    come back under it.
    """
    wrapped = pl.concat_str(
        pl.lit('{"i":'), pl.int_range(pl.len()), pl.lit(',"r":'), pl.col("data"), pl.lit("}")
    )
    dtype = pl.Struct({"i": pl.Int64, "r": WANTED})
    try:
        decoded = raw.select("epoch", "source", wrapped.str.json_decode(dtype).alias("document"))
    except pl.exceptions.PolarsError as error:
        raise UnreadableRawEpochError(
            f"a raw epoch of {_listed(raw)} is no document of this pipeline: {error}"
        ) from error
    numbers = decoded.select(pl.col("document").struct.field("i")).to_series()
    if not numbers.equals(pl.int_range(raw.height, eager=True)):
        raise UnreadableRawEpochError(f"a raw epoch of {_listed(raw)} is broken JSON")
    return decoded.with_columns(pl.col("document").struct.field("r").alias("document"))


def _listed(raw: pl.DataFrame) -> str:
    return f"{raw.item(0, 'epoch')}..{raw.item(-1, 'epoch')}"
