"""One window from a source to our tables: understood, written in one transaction, told."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from psycopg import Connection, Cursor

from operator_prices import store
from operator_prices.epochs.windows import EpochWindow
from operator_prices.errors import ExplainedError
from operator_prices.legacy.quarantine import keep_offenders
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Snapshot
from operator_prices.legacy.sources import IN_PLACE, Source, open_source
from operator_prices.legacy.tables import (
    complete_documents,
    drop_beside,
    in_parts,
    is_done,
    keep_beside,
    keep_rows,
    known_prices,
    leave_out,
    lend_counts,
    mark_done,
    publish_prices,
    remember_ends,
    tell,
)


class OtherDomainError(ExplainedError):
    """An import into a database that holds another domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What the import of one window came to."""

    rows: int = 0
    """Rows of the source."""
    epochs: int = 0
    """Of them, those that could be understood as a whole."""
    operators: int = 0
    prices: int = 0
    """Prices that the window's snapshots tell, each once."""
    changed_epochs: int = 0
    changed_prices: int = 0
    foreign: int = 0
    """Prices and operators of other domains, left out; none that was left out before."""
    quarantined: int = 0
    touched: Sequence[EpochWindow] = ()
    """Other windows of which a price became known."""
    already_done: bool = False


def import_window(
    database: Connection,
    place: str,
    window: EpochWindow,
    *,
    domain_id: int,
    keep_raw: bool = False,
    reduce: bool = False,
) -> Imported:
    """Import the rows of `window` from the source at `place`; a window that is done costs nothing.

    In place, `data` is left as it is unless `reduce` says otherwise; from elsewhere it is reduced
    to the epoch's own facts unless `keep_raw` says otherwise. Raises `UnusableSourceError`,
    `OtherDomainError`.
    """
    pinned = store.pinned_chain(database)
    if pinned is not None and pinned[1] != domain_id:
        raise OtherDomainError(
            f"This database holds domain {pinned[1]} and the import is told of domain {domain_id}:"
            " set DOMAIN_ID to the former, or use another DATABASE_URL."
        )
    raw = not reduce if place == IN_PLACE else keep_raw
    with open_source(place, database) as source:
        mode = f"domain {domain_id} {'raw' if raw else 'reduced'}"
        fingerprint = f"{mode} {source.fingerprint(window)}"
        if is_done(database, source.name, window, fingerprint):
            return Imported(already_done=True)
        found = _understand(source, window, domain_id)
        with database.transaction(), database.cursor() as cursor:
            written = _write(cursor, source, window, found, raw=raw, in_place=place == IN_PLACE)
            mark_done(cursor, source.name, window, fingerprint, len(found.snapshots))
    for first, last in _spans(written.touched):
        database.execute("SELECT refresh_epoch_analytics(%s, %s)", [first, last])
    return Imported(
        rows=found.rows,
        epochs=len(found.snapshots),
        operators=found.reader.operators.count,
        prices=len(found.reader.prices.told),
        changed_epochs=written.epochs,
        changed_prices=written.prices,
        foreign=written.foreign,
        quarantined=len(found.reader.offenders),
        touched=sorted({EpochWindow.containing(epoch) for epoch in written.touched}),
    )


@dataclass(frozen=True, slots=True)
class _Understood:
    """What a window's rows say: the reader has their prices and what is odd about them."""

    rows: int
    snapshots: list[Snapshot]
    reader: Reader


@dataclass(frozen=True, slots=True)
class _Written:
    """How much of a window is new or different."""

    epochs: int
    prices: int
    foreign: int
    touched: list[int]
    """Epochs of other windows of which a price became known."""


def _understand(source: Source, window: EpochWindow, domain_id: int) -> _Understood:
    """Read the rows of the window, and of the first row after it the prices that it tells."""
    reader = Reader(domain_id)
    snapshots: list[Snapshot] = []
    rows = 0
    for row in source.rows(window):
        rows += 1
        snapshot = reader.read(row)
        if snapshot is not None:
            snapshots.append(snapshot)
    if (following := source.next_row(window.last)) is not None:
        reader.read_prices(following)
    return _Understood(rows, snapshots, reader)


def _write(
    cursor: Cursor,
    source: Source,
    window: EpochWindow,
    found: _Understood,
    *,
    raw: bool,
    in_place: bool,
) -> _Written:
    """Write what was understood, and what was not, in the transaction that is open."""
    reader, snapshots, domain_id = found.reader, found.snapshots, found.reader.domain_id
    changed = tell(cursor, reader)
    known = known_prices(cursor, window)
    foreign = leave_out(cursor, reader)
    remember_ends(cursor, snapshots)
    documents = [
        snapshot.document(known.get(snapshot.epoch, {}), domain_id) for snapshot in snapshots
    ]
    if raw:
        epochs = keep_beside(cursor, snapshots, documents, domain_id)
        if not in_place:
            originals = in_parts(source.rows(window))
            epochs = keep_rows(cursor, snapshots, documents, originals, domain_id)
    else:
        pairs = zip(snapshots, documents, strict=True)
        texts = {snapshot.epoch: text for snapshot, (text, _) in pairs}
        epochs = keep_rows(cursor, snapshots, documents, [texts], domain_id)
        drop_beside(cursor, texts)
    lend_counts(cursor, snapshots, documents)
    prices = publish_prices(cursor, changed, known)
    touched = sorted({epoch for epoch, _, _ in changed if not _within(window, epoch)})
    complete_documents(cursor, touched, domain_id)
    keep_offenders(cursor, window, reader.offenders)
    return _Written(epochs, prices, foreign, touched)


def _within(window: EpochWindow, epoch: int) -> bool:
    return window.first <= epoch <= window.last


def _spans(epochs: Sequence[int]) -> list[tuple[int, int]]:
    """The first and last of each run of consecutive numbers.

    >>> _spans([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    runs = [
        [epoch for _, epoch in run]
        for _, run in groupby(enumerate(epochs), key=lambda pair: pair[1] - pair[0])
    ]
    return [(run[0], run[-1]) for run in runs]
