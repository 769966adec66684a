"""What nominators have: the storage keys of an account with an operator, and the values behind."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from operator_prices.amounts import ONE, PERBILL
from operator_prices.chain.entries import Entry, Pair, Unlocking
from operator_prices.chain.port import AMOUNT
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.decode import entries
from operator_prices.chain.substrate.storage import FOUND, State, number
from operator_prices.chain.substrate.values import COLLECTIONS, Values

ITEMS = ("Deposits", "Withdrawals", "DepositOnHold")
"""The maps that have an entry for an account with an operator, all under keys of one form."""

STARTS = tuple(keys.prefix("Domains", item) for item in ITEMS)

PREFIX = len(STARTS[0])
"""The digits of a key that name the map, with their `0x`."""


def suffix_of(pair: Pair) -> str:
    """What the keys of a pair end with, in each of `ITEMS`."""
    operator, nominator = pair
    return keys.u64(operator) + nominator[2:]


def keys_of(pair: Pair) -> list[str]:
    """The keys of what a pair has, in the order of `ITEMS`."""
    suffix = suffix_of(pair)
    return [start + suffix for start in STARTS]


def pair_of(key: str) -> Pair | None:
    """Whose key of one of `ITEMS` this is; None for a key of another form."""
    suffix = key[PREFIX:]
    if len(suffix) != 2 * (8 + 32):
        return None
    return int.from_bytes(bytes.fromhex(suffix[:16]), "little"), "0x" + suffix[16:]


Wanted = Sequence[tuple[int, State, Collection[Pair]]]
"""Epochs with their states, and the pairs whose keys have been read there."""

Found = dict[int, dict[Pair, Entry | None]]
"""The entries by epoch and pair; None for one that is in quarantine."""


class _Read(NamedTuple):
    """That a pair was read in a state."""

    epoch: int
    state: State
    pair: Pair


_Raw = tuple[int | str | None, ...]
"""The spec version, and what is stored of a pair in each of `ITEMS`."""


Pools = Mapping[tuple[int, int], int]
"""As many shares as all of an operator's nominators may have, by epoch and operator."""


def pools(operators: pl.DataFrame) -> Pools:
    """The shares of each operator in `OPERATOR_FACTS`, with the deposits of the epoch.

    In the epoch of its registration these are shares at once.
    """
    deposits = pl.col("deposits_in_epoch").fill_null(pl.lit(0, AMOUNT))
    return {
        (epoch, operator): shares
        for epoch, operator, shares in operators.select(
            "epoch", "operator_id", pl.col("shares") + deposits
        ).iter_rows()
    }


class Decoder:
    """Decodes what was read of pairs; what does not fit goes to the misfits of `values`.

    Most entries are the same at many blocks: each is taken apart once.
    """

    def __init__(self, values: Values, pools: Pools) -> None:
        self._values = values
        self._pools = pools
        self._known: dict[_Raw, Entry] = {}

    def decoded(self, wanted: Wanted) -> Found:
        """What pairs have in the states in which all their keys were read."""
        read = [
            (_Read(epoch, state, pair), (state.spec_version, *map(state.values.get, keys_of(pair))))
            for epoch, state, pairs in wanted
            for pair in pairs
        ]
        new: dict[_Raw, list[_Read]] = {}
        for one, raw in read:
            if raw not in self._known:
                new.setdefault(raw, []).append(one)
        entries = self._taken_apart([alike[0] for alike in new.values()])
        lost: list[_Read] = []
        for (raw, alike), entry in zip(new.items(), entries, strict=True):
            if entry is None:
                lost += alike[1:]
            else:
                self._known[raw] = entry
        self._taken_apart(lost)
        found: Found = {epoch: {} for epoch, _, _ in wanted}
        for one, raw in read:
            entry = self._known.get(raw)
            if entry is not None and self._quarantined(*one, entry):
                entry = None
            found[one.epoch][one.pair] = entry
        return found

    def _taken_apart(self, read: Sequence[_Read]) -> list[Entry | None]:
        """What each says, None where it does not fit; that is put away."""
        if not read:
            return []
        parts: dict[tuple[int, str], dict[str, Any]] = {}
        for item in ITEMS:
            for row in _READERS[item](self._values, _rows(item, read)).iter_rows(named=True):
                suffix = row.pop("storage_key")[PREFIX:]
                parts.setdefault((row.pop("epoch"), suffix), {}).update(row)
        misfits = {
            (epoch, str(key)[PREFIX:])
            for rows in self._values.misfits
            for epoch, key in rows.select("epoch", "storage_key").rows()
        }
        at = [(one.epoch, suffix_of(one.pair)) for one in read]
        return [None if one in misfits else Entry(**parts.get(one, {})) for one in at]

    def _quarantined(self, epoch: int, state: State, pair: Pair, entry: Entry) -> bool:
        """Whether an entry says what cannot be; it is put away with the values that differ."""
        pool = self._pools.get((epoch, pair[0]))
        latest = max(entry.pending_epoch or 0, entry.withdrawing_epoch or 0)
        if latest <= epoch and (pool is None or (entry.shares or 0) <= pool):
            return False
        reasons = {
            "Deposits": _impossible_deposit(epoch, entry, pool),
            "Withdrawals": _impossible_withdrawal(epoch, entry),
        }
        for item, reason in reasons.items():
            if reason:
                key = keys.prefix("Domains", item) + suffix_of(pair)
                row = (epoch, pair[0], state.block_hash, state.spec_version, key, state.values[key])
                rows = pl.DataFrame([row], schema=FOUND, orient="row")
                self._values.quarantine(item, rows.with_columns(reason=pl.lit(reason)))
        return any(reasons.values())


def _impossible_deposit(epoch: int, entry: Entry, pool: int | None) -> str | None:
    if entry.pending_epoch is not None and entry.pending_epoch > epoch:
        return f"a deposit is pending of epoch {entry.pending_epoch} at the end of epoch {epoch}"
    if pool is not None and (entry.shares or 0) > pool:
        return f"{entry.shares} shares are more than the operator has in all, {pool}"
    return None


def _impossible_withdrawal(epoch: int, entry: Entry) -> str | None:
    if entry.withdrawing_epoch is not None and entry.withdrawing_epoch > epoch:
        return f"shares leave in epoch {entry.withdrawing_epoch} at the end of epoch {epoch}"
    return None


def share_price(raw: str) -> int | None:
    """A stored share price in perquintills, a `Perbill` scaled up; None if it cannot be one."""
    price = number(raw) * (PERBILL if len(raw) == len("0x") + 2 * 4 else 1)
    return price if 1 <= price <= ONE else None


def _rows(item: str, read: Sequence[_Read]) -> pl.DataFrame:
    """The values of one item that are there (`FOUND`)."""
    start = keys.prefix("Domains", item)
    rows = []
    for epoch, state, pair in read:
        key = start + suffix_of(pair)
        raw = state.values[key]
        if raw is not None:
            rows.append((epoch, pair[0], state.block_hash, state.spec_version, key, raw))
    return pl.DataFrame(rows, schema=FOUND, orient="row")


def _deposits(values: Values, found: pl.DataFrame) -> pl.DataFrame:
    pending = "pending"
    return values.decoded("Deposits", found).select(
        "epoch",
        "storage_key",
        shares="known.shares",
        storage_fee_deposit="known.storage_fee_deposit",
        pending_epoch=f"{pending}.effective_domain_epoch.1",
        pending=f"{pending}.amount",
        pending_storage_fee=f"{pending}.storage_fee_deposit",
    )


def _withdrawals(values: Values, found: pl.DataFrame) -> pl.DataFrame:
    read = values.decoded("Withdrawals", found)
    leaving = "withdrawal_in_shares"
    kept = read.select(
        "epoch",
        "storage_key",
        withdrawing_epoch=f"{leaving}.domain_epoch.1",
        withdrawing_block=f"{leaving}.unlock_at_confirmed_domain_block_number",
        withdrawing_shares=f"{leaving}.shares",
        withdrawing_storage_fee=f"{leaving}.storage_fee_refund",
    )
    waiting = entries(
        read.select("epoch", "storage_key", "withdrawals", "withdrawals count"),
        "withdrawals",
        COLLECTIONS["withdrawals"],
    )
    lists: dict[tuple[int, str], list[Unlocking]] = {}
    for epoch, key, *one in waiting.select(
        "epoch",
        "storage_key",
        "unlock_at_confirmed_domain_block_number",
        "amount_to_unlock",
        "storage_fee_refund",
    ).iter_rows():
        lists.setdefault((epoch, key), []).append(Unlocking(*one))
    at = kept.select("epoch", "storage_key").rows()
    unlocking = [tuple(lists.get(one, ())) for one in at]
    return kept.with_columns(pl.Series("unlocking", unlocking, dtype=pl.Object))


def _on_hold(values: Values, found: pl.DataFrame) -> pl.DataFrame:
    return values.decoded("DepositOnHold", found).select("epoch", "storage_key", on_hold="value")


_READERS: Mapping[str, Callable[[Values, pl.DataFrame], pl.DataFrame]] = {
    "Deposits": _deposits,
    "Withdrawals": _withdrawals,
    "DepositOnHold": _on_hold,
}
