"""From chain states to raw epochs, the documents that are kept: Polars in, Polars out, no I/O."""

import polars as pl

from operator_prices.chain import AMOUNT, EpochStates
from operator_prices.epochs.counts import COUNTED
from operator_prices.epochs.tables import EPOCHS

OPERATOR_VALUE = {
    "signingKey": "signing_key",
    "minimumNominatorStake": "minimum_nominator_stake",
    "nominationTax": "nomination_tax",
    "currentTotalStake": "stake",
    "currentTotalShares": "shares",
    "partialStatus": "status",
    "depositsInEpoch": "deposits_in_epoch",
    "withdrawalsInEpoch": "withdrawals_in_epoch",
    "totalStorageFeeDeposit": "storage_fee_deposit",
}
"""The fields of an operator in a raw epoch, by the names that the old system gave them."""


def raw_epochs(states: EpochStates, domain_id: int) -> pl.DataFrame:
    """One row per epoch with the columns of table `epochs`; `data` is its own facts as JSON.

    Names are those of the old system, keys are true keys, amounts exact decimal strings; what is
    unknown is null, and what could not be understood is named under `quarantined`. Where that is
    the time of the end block, the column has the transition block's, and the document null.
    """
    incomplete = states.quarantined.select("epoch").unique()
    return (
        states.epochs.with_columns(time=pl.coalesce("timestamp", "transition_timestamp"))
        .filter(pl.col("time").is_not_null())  # a row must have one
        .join(_operators_section(states, domain_id), on="epoch", how="left")
        .join(_staking_section(states), on="epoch", how="left")
        .join(_prices_section(states, domain_id), on="epoch", how="left")
        .join(_quarantined_section(states), on="epoch", how="left")
        .with_columns(
            data=_document(domain_id),
            timestamp="time",
            domain_id=pl.lit(domain_id),
            source=pl.lit("chain"),
            complete=~pl.col("epoch").is_in(incomplete.to_series().implode()),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in EPOCHS.columns.items())
    )


def _document(domain_id: int) -> pl.Expr:
    summary = _object(
        currentEpochIndex=_quoted("epoch"),
        currentTotalStake=_quoted("total_stake"),
        currentOperators=_braced("current_operators"),
        nextOperators=_bracketed("next_operators"),
        currentEpochRewards=_braced("current_epoch_rewards"),
    )
    transition = _object(
        block=_plain("transition_block"),
        hash=_quoted("transition_hash"),
        timestamp=_plain("transition_timestamp"),
        specVersion=_plain("transition_spec_version"),
        totalStake=_quoted("total_stake_after"),
        accumulatedTreasuryFunds=_quoted("treasury_funds_after"),
        domainChainRewards=_quoted("chain_rewards_after"),
    )
    return _object(
        epoch=_plain("epoch"),
        endBlock=_plain("end_block"),
        endHash=_quoted("end_hash"),
        timestamp=_plain("timestamp"),
        domainId=pl.lit(str(domain_id)),
        specVersion=_plain("spec_version"),
        domainStakingSummary=pl.when(pl.col("total_stake").is_not_null())
        .then(summary)
        .otherwise(pl.lit("null")),
        accumulatedTreasuryFunds=_quoted("treasury_funds"),
        domainChainRewards=_quoted("chain_rewards"),
        **dict.fromkeys(COUNTED, pl.lit('{"count":null}')),  # counted on request alone
        operatorEpochSharePrice=_object(entries=_bracketed("prices")),
        operators=_object(entries=_bracketed("operators")),
        transition=transition,
        quarantined=_bracketed("quarantined"),
    )


def _object(**members: pl.Expr) -> pl.Expr:
    parts: list[pl.Expr] = []
    for name, value in members.items():
        parts += [pl.lit(f'{"," if parts else "{"}"{name}":'), value]
    return pl.concat_str(*parts, pl.lit("}"))


def _plain(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).fill_null("null")


def _quoted(column: str) -> pl.Expr:
    return pl.format('"{}"', pl.col(column)).fill_null("null")


def _braced(column: str) -> pl.Expr:
    return pl.concat_str(pl.lit("{"), pl.col(column).fill_null(""), pl.lit("}"))


def _bracketed(column: str) -> pl.Expr:
    return pl.concat_str(pl.lit("["), pl.col(column).fill_null(""), pl.lit("]"))


def _text(column: str, dtype: pl.DataType) -> pl.Expr:
    """Amounts and ids as decimal text, which JSON cannot round."""
    return pl.col(column).cast(pl.String) if dtype in (AMOUNT, pl.UInt64()) else pl.col(column)


def _operators_section(states: EpochStates, domain_id: int) -> pl.DataFrame:
    schema = states.operators.schema
    value = [_text(column, schema[column]).alias(name) for name, column in OPERATOR_VALUE.items()]
    after = pl.struct(
        currentTotalStake=pl.col("stake_after").cast(pl.String),
        currentTotalShares=pl.col("shares_after").cast(pl.String),
        partialStatus="status_after",
    ).struct.json_encode()
    entry = _object(
        key=pl.format('["{}"]', "operator_id"),
        value=pl.struct(*value, currentDomainId=pl.lit(domain_id)).struct.json_encode(),
        owner=_quoted("owner"),
        activeStake=_quoted("active_stake"),
        reward=_quoted("reward"),
        after=pl.when(pl.col("stake_after").is_null()).then(pl.lit("null")).otherwise(after),
    )
    return _joined(states.operators, operators=entry)


def _staking_section(states: EpochStates) -> pl.DataFrame:
    return _joined(
        states.staking,
        current_operators=pl.format('"{}":"{}"', "operator_id", "active_stake"),
        current_epoch_rewards=pl.format('"{}":"{}"', "operator_id", "reward"),
        next_operators=pl.format('"{}"', "operator_id").filter(pl.col("is_next")),
    )


def _prices_section(states: EpochStates, domain_id: int) -> pl.DataFrame:
    entry = _object(
        key=pl.format('["{}","[{},{}]"]', "operator_id", pl.lit(domain_id), "epoch"),
        value=_quoted("share_price_perq"),
    )
    return _joined(states.prices, prices=entry)


def _quarantined_section(states: EpochStates) -> pl.DataFrame:
    entry = pl.struct(
        "item",
        "reason",
        operatorId=pl.col("operator_id").cast(pl.String),
        storageKey="storage_key",
    ).struct.json_encode()
    return _joined(states.quarantined, quarantined=entry)


def _joined(rows: pl.DataFrame, **entries: pl.Expr) -> pl.DataFrame:
    """One row per epoch, with its entries in the order of operators, separated by commas."""
    return (
        rows.sort("epoch", "operator_id")
        .group_by("epoch", maintain_order=True)
        .agg(entry.str.join(",").alias(name) for name, entry in entries.items())
    )
