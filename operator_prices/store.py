"""Postgres, in and out by COPY; the only SQL in Python."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import polars as pl
from psycopg import Connection, Cursor, ProgrammingError, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from operator_prices.chain import WrongChainError
from operator_prices.epochs.tables import EPOCHS, OPERATORS_METADATA, Table
from operator_prices.epochs.windows import EpochWindow
from operator_prices.settings import PROJECT

READ = sql.SQL(
    "COPY (SELECT {readable} FROM {view} WHERE epoch BETWEEN {first} AND {last} AND {ours}"
    " ORDER BY {key})"
    " TO STDOUT (FORMAT csv)"
)
STAGE = sql.SQL(
    "CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0"
)
FILL = sql.SQL("COPY incoming ({columns}) FROM STDIN (FORMAT csv)")
ANALYZE = sql.SQL("ANALYZE incoming")
CHANGED = sql.SQL(
    "INSERT INTO {table} AS old ({columns})"
    " SELECT {new_columns} FROM incoming AS new LEFT JOIN {table} AS old"
    " ON ({old_key}) = ({new_key}) AND old.epoch BETWEEN {first} AND {last}"
    " WHERE old.epoch IS NULL OR ({stronger} AND ({old_values}) IS DISTINCT FROM ({new_values}))"
    " ON CONFLICT ({key}) DO UPDATE SET ({values}) = ROW ({excluded_values})"
    " WHERE {excluded_stronger} AND ({old_values}) IS DISTINCT FROM ({excluded_values})"
)
"""Only rows that differ are touched: an unchanged window is neither locked nor logged."""

FORGET_REPLACED = sql.SQL(
    "DELETE FROM {table} USING incoming AS new JOIN raw_epochs AS old USING (epoch)"
    " WHERE {table}.epoch = new.epoch AND old.source IS NOT NULL"
    " AND (old.end_block, lower(old.end_hash)) <> (new.end_block, lower(new.end_hash))"
    " RETURNING operator_id"
)
FORGET_SKIPPED = sql.SQL(
    "DELETE FROM {table} USING epochs AS old WHERE {table}.epoch = old.epoch"
    " AND old.source = 'chain' AND old.epoch = ANY (%s) RETURNING operator_id"
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

MERGE_OPERATORS = """
INSERT INTO operators_metadata AS old (operator_id, first_seen_epoch, last_seen_epoch, owner,
    signing_key, nomination_tax, minimum_nominator_stake, status)
  SELECT operator_id, first_seen_epoch, last_seen_epoch, owner, signing_key, nomination_tax,
    minimum_nominator_stake, status FROM incoming
  ON CONFLICT (operator_id) DO UPDATE SET
    (first_seen_epoch, last_seen_epoch, owner, signing_key, nomination_tax,
      minimum_nominator_stake, status, updated_at) = ROW (
      least(old.first_seen_epoch, excluded.first_seen_epoch),
      greatest(old.last_seen_epoch, excluded.last_seen_epoch),
      coalesce(excluded.owner, old.owner), excluded.signing_key, excluded.nomination_tax,
      excluded.minimum_nominator_stake, excluded.status, now())
  WHERE coalesce(old.last_seen_epoch, -1) <= excluded.last_seen_epoch AND
    (old.first_seen_epoch, old.last_seen_epoch, old.owner, old.signing_key, old.nomination_tax,
      old.minimum_nominator_stake, old.status) IS DISTINCT FROM
    (least(old.first_seen_epoch, excluded.first_seen_epoch), excluded.last_seen_epoch,
      coalesce(excluded.owner, old.owner), excluded.signing_key, excluded.nomination_tax,
      excluded.minimum_nominator_stake, excluded.status)
"""
"""The latest epoch has the word, but for the owner, whom no legacy snapshot names."""

EARLIER_OPERATORS = """
UPDATE operators_metadata AS old SET (first_seen_epoch, owner, updated_at)
    = ROW (least(old.first_seen_epoch, new.first_seen_epoch), coalesce(old.owner, new.owner), now())
  FROM incoming AS new
  WHERE new.operator_id = old.operator_id
    AND (new.first_seen_epoch < old.first_seen_epoch OR old.owner IS NULL AND new.owner IS NOT NULL)
"""
ACTIVE_OPERATORS = """
UPDATE operators_metadata SET is_active = fact.active
  FROM (SELECT operator_id, status = 'Registered' AND last_seen_epoch = (SELECT max(epoch)
          FROM epochs) AS active FROM operators_metadata) AS fact
  WHERE operators_metadata.operator_id = fact.operator_id AND is_active IS DISTINCT FROM fact.active
"""

CHECKS = PROJECT / "sql" / "checks"
"""Queries for what must not be in a window, each in a file of its own."""


def connect(dsn: str) -> Connection:
    """A connection that commits each statement, unless a transaction is opened."""
    return Connection.connect(dsn, autocommit=True, connect_timeout=10)


def described(dsn: str) -> str:
    """A database's URL or conninfo without its secrets.

    Raises `psycopg.ProgrammingError` where it is neither; its text may repeat what is secret.

    >>> described("postgresql://me:secret@db.example/prices")
    'postgresql://me@db.example/prices'
    """
    known = {"host": "", "dbname": "", **conninfo_to_dict(dsn)}
    if "@" in str(known["host"]):  # what follows an @ in a password that is not written as %40
        raise ProgrammingError("the host has an @")
    user = f"{known['user']}@" if known.get("user") else ""
    port = f":{known['port']}" if known.get("port") else ""
    return f"postgresql://{user}{known['host']}{port}/{known['dbname']}"


def read(connection: Connection, table: Table, window: EpochWindow) -> pl.DataFrame:
    """The rows of `table` in `window`, in the order of its key.

    Raw epochs come in their normal form; a row of the old system that is not imported is not ours.
    """
    of_epochs = table is EPOCHS
    names = _names(table, window.first, window.last) | {
        "view": sql.Identifier("raw_epochs" if of_epochs else table.name),
        "ours": sql.SQL("source IS NOT NULL" if of_epochs else "true"),
    }
    with connection.cursor().copy(READ.format(**names)) as copy:
        rows = BytesIO(b"".join(copy))
    return pl.read_csv(rows, has_header=False, schema=table.columns, raise_if_empty=False)


def write(connection: Connection, table: Table, frame: pl.DataFrame) -> int:
    """Make the rows of `table` say what `frame` says; return how many rows that changed.

    Rows that already say the same are left alone, so a rerun changes nothing; rows that `frame`
    does not mention are kept, and no row gives way to one from a weaker source.
    """
    with connection.transaction(), connection.cursor() as cursor:
        _stage(cursor, table, frame)
        changed = _apply(cursor, table, frame)
        cursor.execute("DROP TABLE incoming")  # another one may be written in the same transaction
        return changed


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
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chain_identity (genesis_hash, domain_id) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            [genesis_hash, domain_id],
        )
        refuse_other_chain(connection, genesis_hash, domain_id)
        _stage(cursor, EPOCHS, frame)
        cursor.execute(KEEP_COUNTS)
        _forget_what_left(cursor, list(skipped["epoch"]))
        changed = _apply(cursor, EPOCHS, frame)
        cursor.execute(
            "DELETE FROM quarantine WHERE source = 'chain' AND epoch = ANY (%s)",
            [list({*frame["epoch"], *quarantined["epoch"], *skipped["epoch"]})],
        )
        _insert(cursor, "quarantine", quarantined.drop("operator_id"), source="chain")
        _insert(cursor, "skipped_epochs", skipped, reason="one block moved the index past it")
        return changed


def _forget_what_left(cursor: Cursor, skipped: Sequence[int]) -> None:
    """Delete what blocks have told that are not the chain's any more, by what is incoming now."""
    forgotten: list[int] = []
    for name in ("operator_share_prices", "operator_shares"):
        table = sql.Identifier(name)
        rows = cursor.execute(FORGET_REPLACED.format(table=table)).fetchall()
        rows += cursor.execute(FORGET_SKIPPED.format(table=table), [skipped]).fetchall()
        forgotten += {operator for (operator,) in rows}
    cursor.execute("DELETE FROM epochs WHERE source = 'chain' AND epoch = ANY (%s)", [skipped])
    if forgotten:
        cursor.execute(FORGET_OPERATORS, [forgotten])
        cursor.execute(FORGET_NOBODIES, [forgotten])


def merge_operators(connection: Connection, frame: pl.DataFrame) -> int:
    """Learn of operators from some epochs; return how many rows of operators that changed.

    The latest epoch that shows an operator has the word; what people set is left alone.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE operators_metadata IN SHARE ROW EXCLUSIVE MODE")
        _stage(cursor, OPERATORS_METADATA, frame)
        changes = (MERGE_OPERATORS, EARLIER_OPERATORS, ACTIVE_OPERATORS)
        return sum(cursor.execute(change).rowcount for change in changes)


def name_operator(
    connection: Connection, operator_id: int, name: str | None, color: str | None
) -> bool:
    """Set what people may set of an operator, None leaves it; false if there is no such."""
    changed = connection.execute(
        "UPDATE operators_metadata SET name = coalesce(%s, name), color = coalesce(%s, color),"
        " updated_at = now() WHERE operator_id = %s",
        [name, color, operator_id],
    )
    return changed.rowcount == 1


def refresh_analytics(connection: Connection, window: EpochWindow) -> int:
    """Bring the analytics rows of `window` up to date; return how many that changed."""
    row = connection.execute(
        "SELECT refresh_epoch_analytics(%s, %s)", [window.first, window.last]
    ).fetchone()
    return int(row[0]) if row else 0


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


def windows_behind(connection: Connection, until: int) -> list[EpochWindow]:
    """The windows up to epoch `until` that lack epochs, or whose epochs lack their analytics."""
    unfinished = connection.execute(
        "SELECT epoch FROM epochs LEFT JOIN epoch_analytics USING (epoch)"
        " WHERE epoch_analytics.epoch IS NULL AND epoch <= %s",
        [until],
    )
    epochs = {epoch for (epoch,) in unfinished} | set(all_lacking(connection, until))
    return sorted({EpochWindow.containing(epoch) for epoch in epochs})


def unserved(connection: Connection, until: int) -> list[int]:
    """The epochs up to `until` that were never read from the chain, or have no analytics yet.

    What is stored but in part in quarantine is not among them: reading it again at once would not
    help.
    """
    rows = connection.execute(
        "SELECT wanted FROM generate_series(0::bigint, %s::bigint) AS wanted"
        " WHERE NOT EXISTS (SELECT FROM epochs JOIN epoch_analytics USING (epoch)"
        "   WHERE epoch = wanted AND source = 'chain')"
        " AND NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = wanted) ORDER BY wanted",
        [until],
    )
    return [epoch for (epoch,) in rows]


def offenders(connection: Connection, check: str, window: EpochWindow) -> list[dict[str, object]]:
    """What the check's query finds in the window: nothing, where all is well."""
    query = (CHECKS / f"{check}.sql").read_bytes()
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"first": window.first, "last": window.last}).fetchall()


def last_epoch(connection: Connection, *, source: str | None = None) -> int:
    """The last stored epoch, of one source or of any, -1 where there is none."""
    row = connection.execute(
        "SELECT max(epoch) FROM epochs WHERE coalesce(source = %(source)s, %(source)s IS NULL)",
        {"source": source},
    ).fetchone()
    return -1 if row is None or row[0] is None else int(row[0])


def incomplete(connection: Connection, first: int, last: int) -> list[int]:
    """The stored epochs of `first..last` of which something is in quarantine."""
    rows = connection.execute(
        "SELECT epoch FROM epochs WHERE NOT complete AND epoch BETWEEN %s AND %s ORDER BY epoch",
        [first, last],
    )
    return [epoch for (epoch,) in rows]


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
    with connection.transaction():
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
    with connection.transaction():
        connection.execute(
            "UPDATE epochs SET data = data || %s WHERE epoch = %s", [Jsonb(counted), epoch]
        )
        connection.execute("SELECT refresh_epoch_analytics(%s, %s)", [epoch, epoch])


def count(connection: Connection, table: str, window: EpochWindow) -> int:
    """How many rows of `table` are in `window`."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE epoch BETWEEN %s AND %s")
    row = connection.execute(
        query.format(sql.Identifier(table)), [window.first, window.last]
    ).fetchone()
    return int(row[0]) if row else 0


def refuse_other_chain(connection: Connection, genesis_hash: str, domain_id: int) -> None:
    """Raise `WrongChainError` when the database is tied to another chain or domain."""
    pinned = pinned_chain(connection)
    if pinned not in (None, (genesis_hash, domain_id)):
        kept_genesis, kept_domain = pinned
        raise WrongChainError(
            f"This database holds domain {kept_domain} of the chain with genesis {kept_genesis},"
            f" the node serves domain {domain_id} of genesis {genesis_hash}: point ARCHIVE_NODE_URL"
            " and DOMAIN_ID at the former, or use another DATA_DIR or DATABASE_URL."
        )


def pinned_chain(connection: Connection) -> tuple[str, int] | None:
    """The genesis hash and domain that the database is tied to, if it is."""
    row = connection.execute("SELECT genesis_hash, domain_id FROM chain_identity").fetchone()
    return (row[0], row[1]) if row else None


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


def _stage(cursor: Cursor, table: Table, frame: pl.DataFrame) -> None:
    names = _names(table, 0, 0)
    cursor.execute(STAGE.format(**names))
    with cursor.copy(FILL.format(**names)) as copy:
        copy.write(frame.match_to_schema(table.columns).write_csv(include_header=False))
    cursor.execute(ANALYZE)


def _apply(cursor: Cursor, table: Table, frame: pl.DataFrame) -> int:
    if frame.is_empty():
        return 0
    first, last = frame["epoch"].min(), frame["epoch"].max()
    return cursor.execute(CHANGED.format(**_names(table, first, last))).rowcount


def _insert(cursor: Cursor, table: str, frame: pl.DataFrame, **constants: str) -> None:
    """Insert rows that are not there yet."""
    columns = [*frame.columns, *constants]
    rows = [(*row, *constants.values()) for row in frame.iter_rows()]
    cursor.executemany(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        ),
        rows,
    )


def _names(table: Table, first: object, last: object) -> dict[str, sql.Composable]:
    def listed(columns: Iterable[str], *qualifier: str) -> sql.Composable:
        return sql.SQL(", ").join([sql.Identifier(*qualifier, column) for column in columns])

    return {
        "table": sql.Identifier(table.name),
        "columns": listed(table.columns),
        "readable": sql.SQL(", ").join(_readable(*column) for column in table.columns.items()),
        "new_columns": listed(table.columns, "new"),
        "key": listed(table.key),
        "old_key": listed(table.key, "old"),
        "new_key": listed(table.key, "new"),
        "values": listed(table.values),
        "old_values": listed(table.values, "old"),
        "new_values": listed(table.values, "new"),
        "excluded_values": listed(table.values, "excluded"),
        "stronger": _no_weaker(table, "new"),
        "excluded_stronger": _no_weaker(table, "excluded"),
        "first": sql.Literal(first),
        "last": sql.Literal(last),
    }


def _readable(name: str, dtype: pl.DataType) -> sql.Composable:
    """Polars reads `true` and `false`, not the `t` and `f` of CSV from Postgres."""
    column = sql.Identifier(name)
    return sql.SQL("{}::text").format(column) if dtype == pl.Boolean() else column


def _no_weaker(table: Table, incoming: str) -> sql.Composable:
    """True where the incoming row's source ranks at least as high as the one that is there."""
    if not table.sources:
        return sql.SQL("true")
    return sql.SQL(
        "coalesce(array_position({ranks}, {new}), 0) >= coalesce(array_position({ranks}, {old}), 0)"
    ).format(
        ranks=sql.Literal(list(table.sources)),
        new=sql.Identifier(incoming, "source"),
        old=sql.Identifier("old", "source"),
    )
