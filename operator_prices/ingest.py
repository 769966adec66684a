"""One window from the chain to the raw epochs, and whether what is kept is still on the chain."""

from dataclasses import dataclass

from psycopg import Connection

from operator_prices import store
from operator_prices.chain import Chain, NodeBehindError
from operator_prices.epochs import documents
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy import end_hashes


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one window's reading came to."""

    epochs_read: int = 0
    changed_rows: int = 0
    quarantined: int = 0
    skipped: int = 0
    legacy_epochs_compared: int = 0
    """Imported epochs whose end hashes were compared with the chain's, once for each."""
    legacy_epochs_differing: int = 0
    """Of them, those that ended in another block; table `legacy_hashes` names them."""


def ingest(chain: Chain, connection: Connection, window: EpochWindow) -> Ingested:
    """Read the completed epochs of `window` that are missing or incomplete, and keep them.

    A window that is whole costs no request. Raises `ChainError` when the chain cannot be read.
    """
    if not store.lacking(connection, window, until=window.last):
        return Ingested()
    store.refuse_other_chain(connection, chain.genesis_hash, chain.domain_id)
    completed = chain.head().last_completed_epoch
    if completed is None:
        return Ingested()
    compared, differing = end_hashes.recheck_imported(connection, chain, until=completed)
    states = chain.read(store.lacking(connection, window, until=completed))
    changed = store.keep_epochs(
        connection,
        documents.raw_epochs(states, chain.domain_id),
        states.quarantined,
        states.skipped,
        genesis_hash=chain.genesis_hash,
        domain_id=chain.domain_id,
    )
    return Ingested(
        epochs_read=states.epochs.height,
        changed_rows=changed,
        quarantined=states.quarantined.height,
        skipped=states.skipped.height,
        legacy_epochs_compared=compared,
        legacy_epochs_differing=differing,
    )


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


def recheck(chain: Chain, connection: Connection, first: int, last: int) -> list[int]:
    """The stored and skipped epochs of `first..last` that left the chain; the next run reads them.

    Raises as `left_the_chain` does.
    """
    left = sorted({gone.epoch for gone in left_the_chain(chain, connection, first, last)})
    store.doubt(connection, left)
    return left
