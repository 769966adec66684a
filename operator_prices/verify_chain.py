"""Whether what is stored is still on the chain: one list request verifies 1,000 epochs."""

from dataclasses import dataclass

from psycopg import Connection

from operator_prices import store
from operator_prices.chain import Chain, NodeBehindError


@dataclass(frozen=True, slots=True)
class Gone:
    """A block of a stored or skipped epoch in whose place the chain has another one by now."""

    epoch: int
    block: int
    stored: str
    on_chain: str


def left_the_chain(chain: Chain, connection: Connection, first: int, last: int) -> list[Gone]:
    """The stored end and transition blocks of `first..last` whose hash is another one by now.

    Among them are the blocks that skipped an epoch: without them it may exist after all. A block
    follows its parent, so where both hashes of an epoch are on the chain its end block is
    the parent of its transition block. Raises `ChainError` when the chain cannot be read or is not
    that long, and when it is another chain.
    """
    store.refuse_other_chain(connection, chain.genesis_hash, chain.domain_id)
    stored = store.blocks(connection, first, last)
    found = chain.block_hashes([block for _, block, _ in stored])
    gone = []
    for (epoch, block, kept), now in zip(stored, found, strict=True):
        if now is None:
            raise NodeBehindError(
                f"The node has no block {block}, though epoch {epoch} was read from a longer chain:"
                " it is behind or syncing; wait until it has caught up, or use another node."
            )
        if now != kept:
            gone.append(Gone(epoch, block, kept, now))
    return gone


def verify_chain(chain: Chain, connection: Connection, first: int, last: int) -> list[int]:
    """The stored and skipped epochs of `first..last` that left the chain; the next run reads them.

    Raises as `left_the_chain` does.
    """
    left = sorted({gone.epoch for gone in left_the_chain(chain, connection, first, last)})
    store.doubt(connection, left)
    return left
