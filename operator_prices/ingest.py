"""One window from the chain to the raw epochs, and whether what is kept is still on the chain."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, replace

from psycopg import Connection

from operator_prices import store
from operator_prices.chain import (
    ArchiveNeededError,
    Chain,
    ChainError,
    EpochStates,
    Listing,
    NodeBehindError,
    Nominators,
)
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
    changed_nominators: int = 0
    """Entries of nominators that are others than at the epoch before."""
    quarantined_nominators: int = 0
    legacy_epochs_compared: int = 0
    """Imported epochs whose end hashes were compared with the chain's, once for each."""
    legacy_epochs_differing: int = 0
    """Of them, those that ended in another block; table `legacy_hashes` names them."""
    left_the_chain: Sequence[int] = ()
    """Stored epochs that were found to have left the chain, and were read again."""


def ingest(
    chain: Chain, connection: Connection, window: EpochWindow, *, nominators: bool = False
) -> Ingested:
    """Read the completed epochs of `window` that are missing or incomplete, and keep them.

    With `nominators` those epochs, too, whose nominators are not known. A window that is whole
    costs no request. Raises `ChainError` when the chain cannot be read.
    """
    return next(_ingest_each(Reading(chain, connection, nominators, stored=nominators), [window]))


def ingest_each(
    chain: Chain,
    connection: Connection,
    windows: Sequence[EpochWindow],
    *,
    verify: bool = False,
    nominators: bool = False,
) -> Generator[Ingested, None, None]:
    """Do so with each of `windows` in turn, while the next ones are read.

    With `verify`, what has left the chain is read again, too. With `nominators` these are read
    along with what is missing; epochs that are stored without them are left alone, since their
    blocks may be gone by now. Each window is kept for itself: those after the last that was kept
    are as missing as before when this fails, or is given up.
    """
    yield from _ingest_each(Reading(chain, connection, nominators, verify=verify), windows)


def _ingest_each(
    reading: "Reading", windows: Sequence[EpochWindow]
) -> Generator[Ingested, None, None]:
    chain, connection = reading.chain, reading.connection
    begun: deque[Begun] = deque()
    wanted = _wanted(reading, windows, begun)
    with closing(chain.read_each(wanted, reading.before if reading.nominators else None)) as read:
        for states in read:
            done, later = begun.popleft()
            done = _kept(chain, connection, states, done)
            for epochs in later:
                (more,) = chain.read_each([epochs], reading.before)
                done = _kept(chain, connection, more, done)
            yield done


Begun = tuple[Ingested, Sequence[Sequence[int]]]
"""What was done for a window before it is read, and what is to be read of it later."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be read, and where it goes."""

    chain: Chain
    connection: Connection
    nominators: bool
    _: KW_ONLY
    verify: bool = False
    stored: bool = False
    """Whether to read epochs again that are stored without their nominators."""

    def before(self, epoch: int) -> Nominators | Listing:
        """What all nominators had before an epoch, as far as it is kept."""
        return store.nominators_before(self.connection, epoch) or Listing()

    def lacking(self, window: EpochWindow, until: int) -> list[int]:
        """The epochs of a window that are missing, incomplete, or wanted for their nominators."""
        lacking = set(store.lacking(self.connection, window, until=until))
        if self.stored:
            lacking |= set(store.lacking_nominators(self.connection, window, until=until))
        return sorted(lacking - self.lost(window) if lacking else lacking)

    def lost(self, window: EpochWindow) -> set[int]:
        """The epochs of a window that were read in part, and that the node has no more.

        What is in quarantine of them stays there, and holds up no other epoch.
        """
        in_part = store.read_in_part(self.connection, window.first, window.last)
        begin = self.chain.reach().first_epoch if in_part else 0
        return {epoch for epoch in in_part if epoch < begin}

    def runs(self, epochs: Sequence[int]) -> list[list[int]]:
        """Epochs that are read together: with nominators those that follow upon each other."""
        runs: list[list[int]] = [[]]
        for epoch in epochs:
            if self.nominators and runs[-1] and runs[-1][-1] != epoch - 1:
                runs.append([])
            runs[-1].append(epoch)
        return runs


def _wanted(
    reading: Reading, windows: Sequence[EpochWindow], begun: deque[Begun]
) -> Iterator[list[int]]:
    """The epochs to read of each window; `begun` gets what was done for it before they are read."""
    chain, connection = reading.chain, reading.connection
    completed: int | None = None
    for window in windows:
        left = recheck(chain, connection, window.first, window.last) if reading.verify else ()
        epochs: list[int] = []
        compared = differing = 0
        if reading.lacking(window, window.last):
            if completed is None:
                completed, compared, differing = _completed(chain, connection)
            epochs = reading.lacking(window, completed)
        first, *later = reading.runs(epochs)
        done = Ingested(
            legacy_epochs_compared=compared,
            legacy_epochs_differing=differing,
            left_the_chain=left,
        )
        begun.append((done, later))
        yield first


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
    entries = store.keep_nominators(connection, states)
    return replace(
        begun,
        epochs_read=begun.epochs_read + states.epochs.height,
        changed_rows=begun.changed_rows + changed,
        quarantined=begun.quarantined + states.quarantined.height,
        skipped=begun.skipped + states.skipped.height,
        changed_nominators=begun.changed_nominators + entries,
        quarantined_nominators=begun.quarantined_nominators + states.nominators_quarantined.height,
    )


@dataclass(frozen=True, slots=True)
class Gone:
    """A block of a stored or skipped epoch in whose place the chain has another one by now."""

    epoch: int
    block: int
    stored: str
    on_chain: str


def left_the_chain(
    chain: Chain, connection: Connection, first: int, last: int, *, all_of_them: bool = False
) -> list[Gone]:
    """The stored end and transition blocks of `first..last` whose hash is another one by now.

    Among them are the blocks that skipped an epoch: without them it may exist after all. A block
    follows its parent, so where both hashes of an epoch are on the chain its end block is
    the parent of its transition block. Of blocks before the first one that the node has, it says
    nothing; with `all_of_them` that is an error. Raises `ChainError` when the chain cannot be read
    or is not that long, and when it is another chain.
    """
    store.refuse_other_chain(connection, chain.genesis_hash, chain.domain_id)
    stored = store.blocks(connection, first, last)
    found = chain.block_hashes([block for _, block, _ in stored])
    begin = chain.reach().first_block if None in found else 0
    gone = []
    for (epoch, block, kept), now in zip(stored, found, strict=True):
        if now is None and (block >= begin or all_of_them):
            raise _not_there(epoch, block, begin)
        if now is not None and now != kept:
            gone.append(Gone(epoch, block, kept, now))
    return gone


def _not_there(epoch: int, block: int, begin: int) -> ChainError:
    """Why a node whose blocks begin with `begin` does not say the hash of another one."""
    if block < begin:
        return ArchiveNeededError(
            f"The node has nothing before block {begin}, so block {block} of epoch {epoch} cannot"
            " be compared: use an archive node, or begin with a later epoch."
        )
    return NodeBehindError(
        f"The node has no block {block}, though epoch {epoch} was read from a longer chain: it is"
        " behind or syncing; wait until it has caught up, or use another node."
    )


def recheck(
    chain: Chain, connection: Connection, first: int, last: int, *, all_of_them: bool = False
) -> list[int]:
    """The stored and skipped epochs of `first..last` that left the chain; the next run reads them.

    Raises as `left_the_chain` does.
    """
    gone = left_the_chain(chain, connection, first, last, all_of_them=all_of_them)
    left = sorted({one.epoch for one in gone})
    store.doubt(connection, left)
    return left
