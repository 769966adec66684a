"""Who has something with operators, by listing the keys of the maps page by page."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import polars as pl

from operator_prices.chain.entries import Entry, Pair, Prices
from operator_prices.chain.rpc.rounds import Rounds
from operator_prices.chain.substrate import keys, paging
from operator_prices.chain.substrate.node import Node
from operator_prices.chain.substrate.stakes import ITEMS, keys_of, pair_of, share_price
from operator_prices.chain.substrate.storage import FOUND, State

EXPECTED = 800
"""Known accounts whose keys are asked for in one page, which has room for some that are new."""

LAST = "f" * 2 * 32
"""The last of all accounts."""

LISTED = "NominatorListing"
"""The item under which a difference between a listing and what was followed is in quarantine."""


def of_all(node: Node, block_hash: str) -> list[Pair]:
    """Everybody who has anything with anyone at a block."""
    whole = [paging.Span(keys.prefix("Domains", item), block_hash) for item in ITEMS]
    listed = paging.keys(node, whole)
    return list(dict.fromkeys(pair for found in listed for pair in pairs_of(found)))


Accounts = Mapping[int, Collection[Pair]]
"""Who is known to have or have had a deposit, by operator."""


def of_operators(
    node: Node, wanted: Sequence[tuple[str, Collection[int]]], known: Accounts
) -> Rounds[list[list[Pair]]]:
    """Ask whoever has a deposit with some operators at each of some blocks.

    Nobody gets anything without a deposit, so the other maps have no keys that are new.
    """
    asked = [
        (at, span)
        for at, (block_hash, operators) in enumerate(wanted)
        for span in spans(block_hash, operators, known)
    ]
    listed = yield from paging.listing(node, [span for _, span in asked])
    pairs: list[list[Pair]] = [[] for _ in wanted]
    for (at, _), found in zip(asked, listed, strict=True):
        pairs[at] += [pair for pair in pairs_of(found) if pair[0] in wanted[at][1]]
    return pairs


def spans(block_hash: str, operators: Iterable[int], known: Accounts) -> list[paging.Span]:
    """The spans that have all deposits with some operators, one page each as far as is known.

    Keys lie in the order of their bytes: what lies near to each other comes in one page, whoever's
    it is, and who has more than a page has several at once.
    """
    start = keys.prefix("Domains", "Deposits")
    wanted = set(operators)
    found: list[paging.Span] = []
    room = 0
    for operator in sorted({*wanted, *known}, key=keys.u64):
        own = start + keys.u64(operator)
        size = len(known.get(operator, ()))
        if size <= room and found:
            room -= size
            if operator in wanted:
                found[-1] = found[-1]._replace(prefix=start, stop=own + LAST)
        elif operator not in wanted:
            room = 0
        else:
            bounds = sorted(keys_of(pair)[0] for pair in known.get(operator, ()))[
                EXPECTED::EXPECTED
            ]
            for above, until in pairwise([own, *bounds, own + LAST]):
                found.append(paging.Span(own, block_hash, above, until))
            room = -size % EXPECTED if size else EXPECTED
    return found


def differing(epoch: int, end: State, lost: Iterable[tuple[Pair, Entry, Entry]]) -> pl.DataFrame:
    """Rows for the quarantine, one for each pair that a listing shows otherwise (`FOUND`)."""
    rows = [
        (
            *(epoch, pair[0], end.block_hash, end.spec_version, keys_of(pair)[0], None),
            f"followed it is {_shown(followed)}, the listing has {_shown(entry)}",
        )
        for pair, followed, entry in lost
    ]
    return pl.DataFrame(rows, schema={**FOUND, "reason": pl.String()}, orient="row")


def pairs_of(listed: Iterable[str]) -> list[Pair]:
    """Whose keys these are."""
    return [pair for key in listed if (pair := pair_of(key)) is not None]


def _shown(entry: Entry) -> str:
    told = {name: value for name, value in entry._asdict().items() if value is not None}
    return ", ".join(f"{name} {value}" for name, value in told.items()) or "nothing"


def prices(node: Node, domain_id: int, end: State, found: Mapping[Pair, Entry | None]) -> Prices:
    """The prices that make shares of what is pending in a listing, and stake of what leaves.

    The epochs they are of may not have been read.
    """
    wanted = {
        (pair[0], epoch): keys.of_share_prices([pair[0]], domain_id, epoch)[0]
        for pair, entry in found.items()
        if entry is not None
        for epoch in (entry.pending_epoch, entry.withdrawing_epoch)
        if epoch is not None
    }
    if not wanted:
        return {}
    (state,) = node.states([(end.block, list(wanted.values()))])
    return {
        of: price
        for of, key in wanted.items()
        if (raw := state.values[key]) is not None and (price := share_price(raw)) is not None
    }
