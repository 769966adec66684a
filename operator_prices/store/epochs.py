"""Raw epochs: kept, forgotten when their blocks have left the chain, doubted, counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from psycopg import Connection, Cursor, sql
from psycopg.types.json import Jsonb

from operator_prices.epochs.nominators import QUARANTINED
from operator_prices.epochs.tables import EPOCHS
from operator_prices.store.database import long_work, refuse_other_chain
from operator_prices.store.positions import mend_spans
from operator_prices.store.rows import apply, first, insert, stage

FORGET_REPLACED = sql.SQL(
    "DELETE FROM {table} USING incoming AS new JOIN raw_epochs AS old USING (epoch)"
    " WHERE {table}.epoch = new.epoch AND old.source IS NOT NULL"
    " AND (old.end_block, lower(old.end_hash)) <> (new.end_block, lower(new.end_hash))"
    " RETURNING {returned}"
)

FORGET_NOMINATOR_EPOCHS = """
DELETE FROM nominator_epochs AS known USING incoming AS new
  WHERE known.epoch = new.epoch AND known.source = 'chain'
    AND lower(known.end_hash) <> lower(new.end_hash)
"""

FORGET_SKIPPED = sql.SQL(
    "DELETE FROM {table} USING epochs AS old WHERE {table}.epoch = old.epoch"
    " AND old.source = 'chain' AND old.epoch = ANY (%s) RETURNING {returned}"
)

FORGET_OPERATORS = """
UPDATE operators_metadata AS known SET (first_seen_epoch, last_seen_epoch) = (
    SELECT min(epoch), max(epoch) FROM operator_shares AS still
    WHERE still.operator_id = known.operator_id)
  WHERE operator_id = ANY (%s)
"""

FORGET_NOBODIES = """
DELETE FROM operators_metadata
  WHERE operator_id = ANY (%s) AND last_seen_epoch IS NULL
    AND coalesce(name, color, metadata::text) IS NULL
"""
"""Whom only another block has shown is no operator of this chain, unless people named one."""

KEEP_COUNTS = """
UPDATE incoming AS new SET data = new.data || told.counts
  FROM (
    SELECT epoch, end_hash,
           jsonb_object_agg(name, jsonb_build_object('count', data -> name -> 'count')) AS counts
    FROM raw_epochs
    CROSS JOIN unnest('{deposits, withdrawals, successfulBundles}'::text[]) AS name
    WHERE epoch IN (SELECT epoch FROM incoming)
      AND jsonb_typeof(data -> name -> 'count') = 'number'
    GROUP BY epoch, end_hash) AS told
  WHERE told.epoch = new.epoch AND lower(told.end_hash) = lower(new.end_hash)
    AND new.data #>> '{deposits,count}' IS NULL
"""
"""What somebody has counted at the same block, or a legacy snapshot tells, is not lost again."""


def keep_epochs(
    connection: Connection,
    frame: pl.DataFrame,
    quarantined: pl.DataFrame,
    skipped: pl.DataFrame,
    *,
    genesis_hash: str,
    domain_id: int,
) -> int:
    """Keep epochs as the chain told them, with what could not be understood and what is skipped.

    The first write ties the database to the chain. An epoch whose end block has become another one
    takes its parsed rows with it; one that is skipped by now goes itself, too: it was read from
    blocks that have left the chain. Returns the number of epochs that are new or changed.
    """
    with long_work(connection), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chain_identity (genesis_hash, domain_id) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            [genesis_hash, domain_id],
        )
        refuse_other_chain(connection, genesis_hash, domain_id)
        changed = _keep(cursor, frame, list(skipped["epoch"]))
        cursor.execute(
            "DELETE FROM quarantine WHERE source = 'chain' AND epoch = ANY (%s)"
            " AND item <> ALL (%s)",
            [list({*frame["epoch"], *quarantined["epoch"], *skipped["epoch"]}), list(QUARANTINED)],
        )
        insert(cursor, "quarantine", quarantined.drop("operator_id"), source="chain")
        insert(cursor, "skipped_epochs", skipped, reason="one block moved the index past it")
        return changed


def _keep(cursor: Cursor, frame: pl.DataFrame, skipped: Sequence[int]) -> int:
    """Keep raw epochs, and forget what others in their place have told; how many changed."""
    if not skipped and _nothing_to_forget(cursor, frame) and first(cursor, EPOCHS, frame):
        return frame.height
    stage(cursor, EPOCHS, frame)
    cursor.execute(KEEP_COUNTS)
    _forget_what_left(cursor, skipped)
    return apply(cursor, EPOCHS, frame)


def _nothing_to_forget(cursor: Cursor, frame: pl.DataFrame) -> bool:
    """Whether nothing is known of nominators where there may be no raw epoch that has told it."""
    between = [frame["epoch"].min(), frame["epoch"].max()]
    known = cursor.execute(
        "SELECT FROM nominator_epochs WHERE epoch BETWEEN %s AND %s LIMIT 1", between
    )
    return known.fetchone() is None


def _forget_what_left(cursor: Cursor, skipped: Sequence[int]) -> None:
    """Delete what blocks have told that are not the chain's any more, by what is incoming now."""
    _forget_rows(cursor, "raw_nominators", skipped, "operator_id", "nominator")
    mend_spans(
        cursor, _forget_rows(cursor, "nominator_positions", skipped, "operator_id", "nominator")
    )
    forgotten: list[int] = []
    for name in ("operator_share_prices", "operator_shares"):
        forgotten += {one for (one,) in _forget_rows(cursor, name, skipped, "operator_id")}
    cursor.execute("DELETE FROM nominator_epochs WHERE epoch = ANY (%s)", [skipped])
    cursor.execute(FORGET_NOMINATOR_EPOCHS)
    cursor.execute("DELETE FROM epochs WHERE source = 'chain' AND epoch = ANY (%s)", [skipped])
    if forgotten:
        cursor.execute(FORGET_OPERATORS, [forgotten])
        cursor.execute(FORGET_NOBODIES, [forgotten])


def _forget_rows(
    cursor: Cursor, table: str, skipped: Sequence[int], *returned: str
) -> list[tuple[Any, ...]]:
    """Delete such rows of one table; return some columns of them."""
    names = {
        "table": sql.Identifier(table),
        "returned": sql.SQL(", ").join(sql.Identifier(table, one) for one in returned),
    }
    rows = cursor.execute(FORGET_REPLACED.format(**names)).fetchall()
    return rows + cursor.execute(FORGET_SKIPPED.format(**names), [skipped]).fetchall()


def blocks(connection: Connection, first: int, last: int) -> list[tuple[int, int, str]]:
    """Epoch, number and hash of the end and the transition block of each epoch of `first..last`.

    Of an imported epoch nobody knows the transition block; of a skipped one there is only the block
    that moved the index past it.
    """
    return connection.execute(
        "SELECT epoch, block, hash FROM ("
        "SELECT epoch, end_block, end_hash FROM epochs UNION ALL"
        " SELECT epoch, transition_block, transition_hash FROM epochs UNION ALL"
        " SELECT epoch, block, block_hash FROM skipped_epochs) AS known (epoch, block, hash)"
        " WHERE epoch BETWEEN %s AND %s AND block IS NOT NULL ORDER BY epoch, block",
        [first, last],
    ).fetchall()


def doubt(connection: Connection, epochs: Sequence[int]) -> None:
    """Mark epochs as incomplete, and as gaps if skipped, so that the next run reads them again."""
    with long_work(connection):
        connection.execute(
            "UPDATE epochs SET complete = false WHERE epoch = ANY (%s) AND source = 'chain'",
            [list(epochs)],
        )
        connection.execute("DELETE FROM skipped_epochs WHERE epoch = ANY (%s)", [list(epochs)])


def uncounted(connection: Connection, first: int, last: int) -> list[tuple[int, str]]:
    """Epoch and end hash of the epochs read from a node whose map entries nobody has counted."""
    return connection.execute(
        "SELECT epoch, end_hash FROM epochs WHERE epoch BETWEEN %s AND %s AND source = 'chain'"
        " AND data #>> '{deposits,count}' IS NULL ORDER BY epoch",
        [first, last],
    ).fetchall()


def keep_counts(connection: Connection, epoch: int, counts: Mapping[str, int]) -> None:
    """Add to a raw epoch how many entries its maps have, and bring its analytics up to date."""
    counted = {name: {"count": number} for name, number in counts.items()}
    with long_work(connection):
        connection.execute(
            "UPDATE epochs SET data = data || %s WHERE epoch = %s", [Jsonb(counted), epoch]
        )
        connection.execute("SELECT refresh_epoch_analytics(%s, %s)", [epoch, epoch])
