"""How far the tables are: what is stored, what is missing, what is incomplete."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql

from operator_prices.epochs.windows import EpochWindow
from operator_prices.store.nominators import all_lacking_nominators


def lacking(connection: Connection, window: EpochWindow, until: int) -> list[int]:
    """The epochs of `window` up to `until` that are not yet kept whole: missing or incomplete."""
    return _lacking(connection, window.first, min(window.last, until))


def all_lacking(connection: Connection, until: int) -> list[int]:
    """The epochs from 0 to `until` that are not yet kept whole: missing or incomplete."""
    return _lacking(connection, 0, until)


def _lacking(connection: Connection, first: int, last: int) -> list[int]:
    rows = connection.execute(
        "SELECT wanted FROM generate_series(%s::bigint, %s::bigint) AS wanted"
        " WHERE NOT EXISTS (SELECT FROM epochs WHERE epoch = wanted AND source = 'chain'"
        "   AND complete)"
        " AND NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = wanted) ORDER BY wanted",
        [first, last],
    )
    return [epoch for (epoch,) in rows]


def windows_behind(
    connection: Connection, until: int, *, nominators: bool = False, lost: Collection[int] = ()
) -> list[EpochWindow]:
    """The windows up to epoch `until` that lack epochs, or whose epochs lack their analytics.

    With `nominators` those, too, in which nominators of epochs were not read whole. Epochs that are
    `lost` are not waited for any more.
    """
    unfinished = connection.execute(
        "SELECT epoch FROM epochs LEFT JOIN epoch_analytics USING (epoch)"
        " WHERE epoch_analytics.epoch IS NULL AND epoch <= %s",
        [until],
    )
    lacking = set(all_lacking(connection, until))
    if nominators:
        lacking |= set(all_lacking_nominators(connection, until))
    epochs = {epoch for (epoch,) in unfinished} | lacking.difference(lost)
    return sorted({EpochWindow.containing(epoch) for epoch in epochs})


def unserved(connection: Connection, until: int, *, nominators: bool = False) -> list[int]:
    """The epochs up to `until` that were never read from the chain, or have no analytics yet.

    With `nominators` those, too, whose nominators were never read.

    What is stored but in part in quarantine is not among them: reading it again at once would not
    help.
    """
    rows = connection.execute(
        "SELECT wanted FROM generate_series(0::bigint, %s::bigint) AS wanted"
        " WHERE NOT EXISTS (SELECT FROM epochs JOIN epoch_analytics USING (epoch)"
        "   WHERE epoch = wanted AND source = 'chain' AND (NOT %s OR EXISTS ("
        "     SELECT FROM nominator_epochs AS known"
        "     WHERE known.epoch = wanted AND known.source = 'chain')))"
        " AND NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = wanted) ORDER BY wanted",
        [until, nominators],
    )
    return [epoch for (epoch,) in rows]


def note_head(connection: Connection, best_block: int, completed_epoch: int | None) -> None:
    """Keep how far the source is, that it has answered now, and when its best block last moved."""
    connection.execute(
        "INSERT INTO source_head AS known (best_block, completed_epoch) VALUES (%s, %s)"
        " ON CONFLICT ((true)) DO UPDATE SET heard_at = excluded.heard_at,"
        " grown_at = CASE WHEN known.best_block = excluded.best_block THEN known.grown_at"
        " ELSE excluded.grown_at END,"
        " best_block = excluded.best_block, completed_epoch = excluded.completed_epoch",
        [best_block, completed_epoch],
    )


def last_epoch(connection: Connection, *, source: str | None = None) -> int:
    """The last stored epoch, of one source or of any, -1 where there is none."""
    row = connection.execute(
        "SELECT max(epoch) FROM epochs WHERE coalesce(source = %(source)s, %(source)s IS NULL)",
        {"source": source},
    ).fetchone()
    return -1 if row is None or row[0] is None else int(row[0])


def newest_ends(connection: Connection) -> list[int]:
    """The end blocks of the two newest epochs that were read from the chain, the newest first."""
    rows = connection.execute(
        "SELECT end_block FROM epochs WHERE source = 'chain' ORDER BY epoch DESC LIMIT 2"
    )
    return [block for (block,) in rows]


def incomplete(connection: Connection, first: int, last: int) -> list[int]:
    """The stored epochs of `first..last` of which something is in quarantine."""
    rows = connection.execute(
        "SELECT epoch FROM epochs WHERE NOT complete AND epoch BETWEEN %s AND %s ORDER BY epoch",
        [first, last],
    )
    return [epoch for (epoch,) in rows]


def read_in_part(connection: Connection, first: int, last: int) -> list[int]:
    """The epochs of `first..last` that were read from the chain, with something in quarantine.

    Of the epoch itself, or of its nominators.
    """
    rows = connection.execute(
        "SELECT epoch FROM epochs LEFT JOIN nominator_epochs AS known USING (epoch)"
        " WHERE epoch BETWEEN %s AND %s AND epochs.source = 'chain'"
        " AND NOT (epochs.complete AND coalesce(known.complete, true))",
        [first, last],
    )
    return [epoch for (epoch,) in rows]


def from_chain(connection: Connection, epochs: Sequence[int]) -> set[int]:
    """Those of `epochs` that were read from the chain, whole or in part."""
    rows = connection.execute(
        "SELECT epoch FROM epochs WHERE source = 'chain' AND epoch = ANY (%s)", [list(epochs)]
    )
    return {epoch for (epoch,) in rows}


@dataclass(frozen=True, slots=True)
class Summary:
    """What is stored."""

    epochs: int
    first_epoch: int | None
    last_epoch: int | None
    gaps: Sequence[tuple[int, int]]
    """First and last epoch of each run of epochs that are neither stored nor skipped."""
    skipped: int
    incomplete: Sequence[int]
    quarantined: int
    operators: int
    rows: dict[str, int]


def summary(connection: Connection) -> Summary:
    """Count what is stored and find what is missing, from epoch 0 to the last stored one."""

    def one(query: sql.SQL | sql.Composed) -> int:
        row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    bounds = connection.execute("SELECT count(*), min(epoch), max(epoch) FROM epochs").fetchone()
    count, first, last = bounds or (0, None, None)
    gaps = connection.execute(
        "SELECT before + 1, epoch - 1 FROM (SELECT epoch, lag(epoch, 1, -1::bigint) OVER (ORDER BY"
        " epoch) AS before FROM (SELECT epoch FROM epochs UNION SELECT epoch FROM skipped_epochs)"
        " AS known) AS pairs WHERE before + 1 < epoch ORDER BY 1"
    ).fetchall()
    tables = (
        "epochs",
        "operator_share_prices",
        "operator_shares",
        "operators_metadata",
        "comprehensive_analytics",
    )
    counted = sql.SQL("SELECT count(*) FROM {}")
    return Summary(
        epochs=count,
        first_epoch=first,
        last_epoch=last,
        gaps=gaps,
        skipped=one(counted.format(sql.Identifier("skipped_epochs"))),
        incomplete=incomplete(connection, 0, -1 if last is None else last),
        quarantined=one(counted.format(sql.Identifier("quarantine"))),
        operators=one(counted.format(sql.Identifier("operators_metadata"))),
        rows={table: one(counted.format(sql.Identifier(table))) for table in tables},
    )
