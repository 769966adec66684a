"""What an import could not understand, kept by window, so that people can find and mend it."""

from collections.abc import Collection, Sequence

from psycopg import Connection, Cursor

from operator_prices import store
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.decoding import LARGEST_ID
from operator_prices.legacy.snapshots import Offender
from operator_prices.legacy.sources import Source


def keep_offenders(
    cursor: Cursor,
    source: str,
    window: EpochWindow,
    epochs: Collection[int],
    offenders: Sequence[Offender],
) -> None:
    """Keep what the source's rows of these epochs of the window have for offenders, and no others.

    What other sources have told of other epochs of the window stays.
    """
    cursor.execute(
        "DELETE FROM quarantine WHERE source = 'legacy' AND epoch BETWEEN %s AND %s"
        " AND (epoch = ANY (%s) OR NOT EXISTS ("
        "   SELECT FROM legacy_windows WHERE first_epoch = %s AND legacy_windows.source <> %s))",
        [window.first, window.last, sorted(epochs), window.first, source],
    )
    _insert(cursor, offenders)


def _insert(cursor: Cursor, offenders: Sequence[Offender]) -> None:
    cursor.executemany(
        "INSERT INTO quarantine (epoch, item, path, raw, reason, operator_id, storage_key, source)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, 'legacy')",
        [
            (
                offender.epoch,
                offender.item,
                offender.path,
                offender.raw,
                offender.reason,
                offender.operator_id,
                offender.storage_key,
            )
            for offender in offenders
        ],
    )


def quarantine_misplaced(database: Connection, source: Source) -> None:
    """Name the rows of the source whose epoch is none, and what is no row: no window has them."""
    offenders = source.misplaced()
    with store.long_work(database), database.cursor() as cursor:
        cursor.execute(
            "DELETE FROM quarantine"
            " WHERE source = 'legacy' AND (epoch BETWEEN 0 AND %s) IS NOT TRUE"
            " AND (path = 'epoch' OR starts_with(path, %s))",
            [LARGEST_ID, f"{source.name}: "],
        )
        _insert(cursor, offenders)


def in_quarantine(
    database: Connection, first: int, last: int
) -> list[tuple[str, str, int, int | None]]:
    """What of the epochs `first..last`, and of what is no epoch, an import could not understand.

    Item, reason, how many, and the first epoch with one; the most frequent first.
    """
    return database.execute(
        "SELECT item, reason, count(*), min(epoch) FROM quarantine WHERE source = 'legacy'"
        " AND (epoch BETWEEN %s AND %s OR (epoch BETWEEN 0 AND %s) IS NOT TRUE)"
        " GROUP BY item, reason ORDER BY 3 DESC, 4, 1, 2",
        [first, last, LARGEST_ID],
    ).fetchall()
