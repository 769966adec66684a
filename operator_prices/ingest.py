"""One window from the chain to the raw epochs: what is lacking is read, and kept in one piece."""

from dataclasses import dataclass

from psycopg import Connection

from operator_prices import store
from operator_prices.chain import Chain
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
    compared, differing = end_hashes.compare_imported(connection, chain, until=completed)
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
