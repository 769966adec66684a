"""One window from a source to our tables: understood, written in one transaction, told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from psycopg import Connection, Cursor

from operator_prices import store
from operator_prices.epochs.windows import EpochWindow
from operator_prices.errors import ExplainedError
from operator_prices.legacy.doubles import DIFFERS, sorted_out
from operator_prices.legacy.first_generation import start_of
from operator_prices.legacy.price_tables import (
    complete_documents,
    known_prices,
    publish_prices,
    tell,
)
from operator_prices.legacy.quarantine import keep_offenders
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row, Snapshot
from operator_prices.legacy.sources import IN_PLACE, Source, open_source
from operator_prices.legacy.tables import (
    drop_beside,
    fuller_epochs,
    in_parts,
    is_done,
    keep_beside,
    keep_rows,
    leave_out,
    lend_counts,
    mark_done,
    remember_ends,
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
    forms: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """By form: rows, those of them that were understood, and what is in quarantine."""


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
        with store.long_work(database), database.cursor() as cursor:
            written = _write(cursor, source, window, found, raw=raw, in_place=place == IN_PLACE)
            mark_done(cursor, source.name, window, fingerprint, len(found.snapshots))
    for first, last in _spans(written.touched):
        with store.long_work(database):
            database.execute("SELECT refresh_epoch_analytics(%s, %s)", [first, last])
    return Imported(
        rows=len(found.forms),
        forms=found.by_form(),
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

    epochs: set[int]
    """Those that the window has rows of."""
    snapshots: list[Snapshot]
    reader: Reader
    forms: list[tuple[int, str]]
    """The epoch and the form of each row."""

    def by_form(self) -> dict[str, tuple[int, int, int]]:
        """By form: rows, those of them that were understood, and what is in quarantine."""
        understood = {snapshot.epoch for snapshot in self.snapshots}
        offenders = Counter(offender.epoch for offender in self.reader.offenders)
        found: dict[str, list[int]] = {}
        for epoch, form in self.forms:
            counts = found.setdefault(form, [0, 0, 0])
            counts[0] += 1
            counts[1] += epoch in understood
            counts[2] += offenders.pop(epoch, 0)
        return {form: (rows, known, odd) for form, (rows, known, odd) in found.items()}


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
    epochs: set[int] = set()
    for epoch, rows in groupby(source.rows(window), key=lambda row: row.epoch):
        epochs.add(epoch)
        taken, adding, contradicting = sorted_out(list(rows))
        reader.refuse(contradicting, DIFFERS)
        for row in adding:
            reader.read(row)  # for its prices
        snapshot = None if taken is None else reader.read(taken)
        if snapshot is not None:
            snapshots.append(snapshot)
    following = source.next_row(window.last)
    if following is not None:
        reader.read_prices(following)
    _compare_ends(reader, snapshots, following)
    return _Understood(epochs, snapshots, reader, source.forms(window))


def _compare_ends(reader: Reader, snapshots: Sequence[Snapshot], following: Row | None) -> None:
    """Name the ends of the first generation that are not where the next epoch starts."""
    starts = {snapshot.epoch: snapshot.start_block for snapshot in snapshots}
    if following is not None:
        starts[following.epoch] = start_of(following)
    for snapshot in snapshots:
        start = starts.get(snapshot.epoch + 1)
        if snapshot.partial and start is not None and start != snapshot.end_block + 1:
            reader.disagrees(snapshot, start)


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
    reader, domain_id = found.reader, found.reader.domain_id
    changed = tell(cursor, reader)
    fuller = fuller_epochs(cursor, found.epochs)
    snapshots = [one for one in found.snapshots if not (one.partial and one.epoch in fuller)]
    known = known_prices(cursor, window)
    foreign = leave_out(cursor, reader)
    remember_ends(cursor, snapshots)
    documents = [
        snapshot.document(known.get(snapshot.epoch, {}), domain_id) for snapshot in snapshots
    ]
    pairs = list(zip(snapshots, documents, strict=True))
    whole = {one.epoch: text for one, (text, _) in pairs if one.partial or not raw}
    epochs = 0
    if raw:
        epochs = keep_beside(cursor, snapshots, documents, domain_id)
        if not in_place:
            originals = in_parts(row for row in source.rows(window) if row.epoch not in whole)
            epochs = keep_rows(cursor, snapshots, documents, originals, domain_id)
    if not in_place or not raw:
        epochs += keep_rows(cursor, snapshots, documents, [whole], domain_id)
        drop_beside(cursor, whole)
    lend_counts(cursor, snapshots, documents)
    prices = publish_prices(cursor, changed, known)
    touched = sorted({epoch for epoch, _, _ in changed if not _within(window, epoch)})
    left = {epoch for epoch, _, _ in changed} & fuller - set(whole)
    complete_documents(cursor, sorted({*touched, *left}), domain_id)
    keep_offenders(cursor, source.name, window, found.epochs, reader.offenders)
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
