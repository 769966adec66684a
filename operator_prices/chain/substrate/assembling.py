"""From the raw storage values of end and transition blocks to the frames that cross the port."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial

import polars as pl
from scalecodec.utils.ss58 import ss58_encode

from operator_prices.amounts import ONE, PERBILL
from operator_prices.chain.port import (
    EPOCH_FACTS,
    OPERATOR_FACTS,
    PRICE_FACTS,
    QUARANTINED,
    SKIPPED,
    STAKING,
    EpochStates,
)
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.decode import decode, entries
from operator_prices.chain.substrate.histories import Followed
from operator_prices.chain.substrate.layout import Unsigned
from operator_prices.chain.substrate.runtimes import Runtimes
from operator_prices.chain.substrate.storage import (
    FOUND,
    NOW,
    TREASURY,
    Boundary,
    Seen,
    State,
)
from operator_prices.chain.substrate.values import COLLECTIONS, Values, conform, octets_of

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

OF_STATE = ["epoch", "block_hash"]
"""What tells states apart: one block may close an epoch and be the last of the next one, too."""

FACTS_AFTER = {
    "timestamp": "transition_timestamp",
    "total_stake": "total_stake_after",
    "treasury_funds": "treasury_funds_after",
    "chain_rewards": "chain_rewards_after",
}
"""The facts of an epoch, and what they are called when the transition block shows them."""


def assemble(
    boundaries: Sequence[Boundary],
    *,
    skipped: Mapping[int, State],
    operators: Sequence[int],
    domain_id: int,
    runtimes: Runtimes,
) -> EpochStates:
    """Decode all values at once, item by item; what does not fit goes to `quarantined`."""
    empty = EpochStates.empty()
    reading = _Reading(operators, domain_id, runtimes)
    ends = Seen([(boundary.epoch, boundary.end) for boundary in boundaries])
    transitions = Seen([(boundary.epoch, boundary.transition) for boundary in boundaries])

    facts, summary = reading.plain(Seen([*ends.states, *transitions.states]))
    blocks = _blocks(boundaries)
    at_end_block = blocks.select("epoch", block_hash="end_hash")
    staking = _staking(summary.join(at_end_block, on=OF_STATE, how="semi"))
    epochs = blocks.join(facts, left_on=["epoch", "end_hash"], right_on=OF_STATE, how="left").join(
        facts.rename(FACTS_AFTER),
        left_on=["epoch", "transition_hash"],
        right_on=OF_STATE,
        how="left",
    )
    at_end, presence = reading.operators(ends)
    at_transition, _ = reading.operators(transitions)
    owners = reading.owners(ends)
    prices = reading.prices(transitions, presence)

    return replace(
        empty,
        epochs=conform(epochs, EPOCH_FACTS),
        operators=conform(
            _operators(at_end, at_transition, owners, staking, epochs), OPERATOR_FACTS
        ),
        prices=conform(prices, PRICE_FACTS),
        staking=conform(staking, STAKING),
        quarantined=_stacked(reading.misfits, QUARANTINED),
        skipped=pl.DataFrame(
            [(epoch, state.block, state.block_hash) for epoch, state in skipped.items()],
            schema=SKIPPED,
            orient="row",
        ),
    )


def with_nominators(
    states: EpochStates, followed: Followed, values: Values, ss58_prefix: int | None
) -> EpochStates:
    """The same states with what was found of nominators, and the addresses of their accounts."""
    accounts = followed.nominators.select(pl.col("nominator").unique(maintain_order=True))
    address = partial(address_of, prefix=ss58_prefix)
    return replace(
        states,
        nominators=followed.nominators,
        nominator_epochs=followed.epochs,
        addresses=accounts.with_columns(
            address=pl.col("nominator").map_elements(address, return_dtype=pl.String)
        ),
        nominators_quarantined=_stacked(values.misfits, QUARANTINED),
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


def _blocks(boundaries: Sequence[Boundary]) -> pl.DataFrame:
    """Which two blocks close each epoch, and the runtimes that executed them."""
    return pl.DataFrame(
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


def _operators(
    at_end: pl.DataFrame,
    at_transition: pl.DataFrame,
    owners: pl.DataFrame,
    staking: pl.DataFrame,
    epochs: pl.DataFrame,
) -> pl.DataFrame:
    """One row per operator at the end block, beside it what else is known of it."""
    of_operator = ["epoch", "operator_id"]
    after = at_transition.select(
        *of_operator, stake_after="stake", shares_after="shares", status_after="status"
    )
    summaries = epochs.select("epoch", understood=pl.col("total_stake").is_not_null())
    return (
        at_end.join(owners, on=of_operator, how="left")
        .join(staking, on=of_operator, how="left")
        .join(after, on=of_operator, how="left")
        .join(summaries, on="epoch", how="left")
        .with_columns(_zero_where_absent("active_stake"), _zero_where_absent("reward"))
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
    """Zero for an operator that the epoch's summary does not name, null if that was not read."""
    return pl.when("understood").then(pl.col(column).fill_null(pl.lit(0, pl.UInt128)))


def _stacked(frames: Sequence[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema), *(conform(frame, schema) for frame in frames)])


class _Reading:
    """Decodes one batch of states."""

    def __init__(self, operators: Sequence[int], domain_id: int, runtimes: Runtimes) -> None:
        self._values = Values(runtimes)
        self._operators = tuple(operators)
        self._domain_id = domain_id
        self._runtimes = runtimes

    @property
    def misfits(self) -> list[pl.DataFrame]:
        return self._values.misfits

    def plain(self, seen: Seen) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The facts of each state, and its staking summary."""
        summary = self._values.decoded(
            "DomainStakingSummary",
            self._plain(
                "DomainStakingSummary",
                keys.of_domain("DomainStakingSummary", self._domain_id),
                seen,
            ),
        )
        facts = summary.select(*OF_STATE, total_stake="current_total_stake")
        self._values.quarantine(
            "Now", seen.absent(NOW).with_columns(reason=pl.lit("the state has no Now"))
        )
        for item, key, name in (
            ("Now", NOW, "timestamp"),
            ("AccumulatedTreasuryFunds", TREASURY, "treasury_funds"),
            (
                "DomainChainRewards",
                keys.of_domain("DomainChainRewards", self._domain_id),
                "chain_rewards",
            ),
        ):
            read = self._values.decoded(item, self._plain(item, key, seen))
            facts = facts.join(
                read.select(*OF_STATE, pl.col("value").alias(name)),
                on=OF_STATE,
                how="full",
                coalesce=True,
            )
        return facts, summary

    def operators(self, seen: Seen) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The operators of the domain; and every key at which an operator is, understood or not."""
        found = self._of_operators("Operators", seen)
        read = self._values.decoded("Operators", found)
        own = read.rename(OPERATOR_FIELDS)
        foreign = own.filter(pl.col("current_domain_id") != self._domain_id)
        of_operator = ["epoch", "operator_id"]
        presence = found.join(foreign, on=of_operator, how="anti").select(of_operator)
        return own.filter(pl.col("current_domain_id") == self._domain_id), presence

    def owners(self, seen: Seen) -> pl.DataFrame:
        found = self._of_operators("OperatorIdOwner", seen)
        read = self._values.decoded("OperatorIdOwner", found)
        prefixes = {state.spec_version: self._ss58_prefix(state) for _, state in seen.states}
        unique = read.select("spec_version", "value").unique()
        addresses = unique.with_columns(
            pl.Series(
                "owner",
                [address_of(value, prefixes[version]) for version, value in unique.rows()],
                dtype=pl.String,
            )
        )
        return read.join(addresses, on=["spec_version", "value"]).select(
            "epoch", "operator_id", "owner"
        )

    def prices(self, seen: Seen, presence: pl.DataFrame) -> pl.DataFrame:
        """Stored prices in perquintills, `Perbill` scaled up; of operators present at the end."""
        found = seen.of_operators(
            self._operators,
            lambda epoch: keys.of_share_prices(self._operators, self._domain_id, epoch),
        ).join(presence, on=["epoch", "operator_id"], how="semi")
        short = pl.col("raw").str.len_chars() == len("0x") + 2 * 4
        item = "OperatorEpochSharePrice"
        read = [(self._values.decoded(item, found.filter(~short)), 1)]
        old = found.filter(short)
        if not old.is_empty():
            per_billion = decode(Unsigned(4), octets_of(old))
            read.append((self._values.fitting(item, old, per_billion), PERBILL))
        kept = pl.concat(
            one.select(*FOUND, share_price_perq=pl.col("value").cast(pl.UInt64) * scale)
            for one, scale in read
        )
        sound = pl.col("share_price_perq").is_between(1, ONE)
        self._values.quarantine(
            item,
            kept.filter(~sound).with_columns(
                reason=pl.format("price {} is outside (0, 10^18]", "share_price_perq")
            ),
        )
        return kept.filter(sound)

    def _plain(self, item: str, key: str, seen: Seen) -> pl.DataFrame:
        return seen.plain(key, lambda state: self._values.default(item, state))

    def _of_operators(self, item: str, seen: Seen) -> pl.DataFrame:
        asked = keys.of_operators(item, self._operators)
        return seen.of_operators(self._operators, lambda _: asked)

    def _ss58_prefix(self, state: State) -> int | None:
        return self._runtimes.known(state.spec_version).ss58_prefix


def address_of(account: str, prefix: int | None) -> str:
    """The SS58 form of an account id, or its hex where the chain names no prefix."""
    return account if prefix is None else str(ss58_encode(account, ss58_format=prefix))
