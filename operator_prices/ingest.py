"""One window from the chain to the raw epochs, and whether what is kept is still on the chain."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from psycopg import Connection

from operator_prices import store
from operator_prices.chain import Chain, EpochStates, NodeBehindError
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
    left_the_chain: Sequence[int] = ()
    """Stored epochs that were found to have left the chain, and were read again."""


def ingest(chain: Chain, connection: Connection, window: EpochWindow) -> Ingested:
    """Read the completed epochs of `window` that are missing or incomplete, and keep them.

    A window that is whole costs no request. Raises `ChainError` when the chain cannot be read.
    """
    return next(ingest_each(chain, connection, [window]))


def ingest_each(
    chain: Chain, connection: Connection, windows: Sequence[EpochWindow], *, verify: bool = False
) -> Generator[Ingested, None, None]:
    """Do so with each of `windows` in turn, while the next ones are read.

    With `verify`, what has left the chain is read again, too. Each window is kept for itself: those
    after the last that was kept are as missing as before when this fails, or is given up.
    """
    begun: deque[Ingested] = deque()
    wanted = _wanted(chain, connection, windows, begun, verify=verify)
    with closing(chain.read_each(wanted)) as read:
        for states in read:
            yield _kept(chain, connection, states, begun.popleft())


def _wanted(
    chain: Chain,
    connection: Connection,
    windows: Sequence[EpochWindow],
    begun: deque[Ingested],
    *,
    verify: bool,
) -> Iterator[list[int]]:
    """The epochs to read of each window; `begun` gets what was done for it before they are read."""
    completed: int | None = None
    for window in windows:
        left = recheck(chain, connection, window.first, window.last) if verify else ()
        epochs: list[int] = []
        compared = differing = 0
        if store.lacking(connection, window, until=window.last):
            if completed is None:
                completed, compared, differing = _completed(chain, connection)
            epochs = store.lacking(connection, window, until=completed)
        begun.append(
            Ingested(
                legacy_epochs_compared=compared,
                legacy_epochs_differing=differing,
                left_the_chain=left,
            )
        )
        yield epochs


def _completed(chain: Chain, connection: Connection) -> tuple[int, int, int]:
    """The last completed epoch, -1 for none, and what came of comparing the imported ones."""
    store.refuse_other_chain(connection, chain.genesis_hash, chain.domain_id)
    completed = chain.head().last_completed_epoch
    if completed is None:
        return -1, 0, 0
    return completed, *end_hashes.recheck_imported(connection, chain, until=completed)


def _kept(chain: Chain, connection: Connection, states: EpochStates, begun: Ingested) -> Ingested:
    if states.epochs.is_empty() and states.quarantined.is_empty() and states.skipped.is_empty():
        return begun
    changed = store.keep_epochs(
        connection,
        documents.raw_epochs(states, chain.domain_id),
        states.quarantined,
        states.skipped,
        genesis_hash=chain.genesis_hash,
        domain_id=chain.domain_id,
    )
    return replace(
        begun,
        epochs_read=states.epochs.height,
        changed_rows=changed,
        quarantined=states.quarantined.height,
        skipped=states.skipped.height,
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
