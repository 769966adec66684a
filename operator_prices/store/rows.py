"""The rows of a table, in and out by COPY: only what differs is written."""

from collections.abc import Iterable
from io import BytesIO

import polars as pl
from psycopg import Connection, Copy, Cursor, errors, sql

from operator_prices.epochs.tables import EPOCHS, Table
from operator_prices.epochs.windows import EpochWindow
from operator_prices.store.database import long_work

READ = sql.SQL(
    "COPY (SELECT {readable} FROM {view} WHERE epoch BETWEEN {first} AND {last} AND {ours}"
    " ORDER BY {key})"
    " TO STDOUT (FORMAT {format})"
)

STAGE = sql.SQL(
    "CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0"
)

KEEP_AS_IT_COMES = sql.SQL("ALTER TABLE incoming ALTER data SET STORAGE EXTERNAL")
"""As in the table itself: compressing takes longer than all else that is done with raw JSON."""

FILL = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT {format})")

STRAIGHT = sql.SQL(
    "SELECT NOT row_security_active({name}::regclass) AND NOT EXISTS"
    " (SELECT FROM {table} WHERE epoch BETWEEN {first} AND {last})"
)
"""Nothing can be copied to where policies look at each row, as they do for the writer's role."""

AT_ONCE = 2**20
"""Bytes of rows, about, that are made into CSV at a time."""

ANALYZE = sql.SQL("ANALYZE incoming ({key})")
"""Nothing but keys is ever looked for there, and some values are long."""

CHANGED = sql.SQL(
    "INSERT INTO {table} AS old ({columns})"
    " SELECT {new_columns} FROM incoming AS new LEFT JOIN {table} AS old"
    " ON ({old_key}) = ({new_key}) AND old.epoch BETWEEN {first} AND {last}"
    " WHERE old.epoch IS NULL OR ({stronger} AND ({old_values}) IS DISTINCT FROM ({new_values}))"
    " ON CONFLICT ({key}) DO UPDATE SET ({values}) = ROW ({excluded_values})"
    " WHERE {excluded_stronger} AND ({old_values}) IS DISTINCT FROM ({excluded_values})"
)
"""Only rows that differ are touched: an unchanged window is neither locked nor logged."""


def read(connection: Connection, table: Table, window: EpochWindow) -> pl.DataFrame:
    """The rows of `table` in `window`, in the order of its key.

    Raw epochs come in their normal form; a row of the old system that is not imported is not ours.
    """
    of_epochs = table is EPOCHS
    names = _names(table, window.first, window.last) | {
        "view": sql.Identifier("raw_epochs" if of_epochs else table.name),
        "ours": sql.SQL("source IS NOT NULL" if of_epochs else "true"),
        "format": sql.SQL("text" if of_epochs else "csv"),
    }
    with long_work(connection), connection.cursor().copy(READ.format(**names)) as copy:
        return _documents(copy, table) if of_epochs else _told(copy, table)


def _documents(copy: Copy, table: Table) -> pl.DataFrame:
    """Long rows full of quotes: CSV would double each of these, which is then halved again."""
    texts = pl.DataFrame(list(copy.rows()), dict.fromkeys(table.columns, pl.String), orient="row")
    return texts.select(
        pl.col(name) == "true" if dtype == pl.Boolean() else pl.col(name).cast(dtype)
        for name, dtype in table.columns.items()
    )


def _told(copy: Copy, table: Table) -> pl.DataFrame:
    rows = BytesIO()
    rows.writelines(copy)
    rows.seek(0)
    return pl.read_csv(rows, has_header=False, schema=table.columns, raise_if_empty=False)


def rows_of(cursor: Cursor, query: sql.Composable, table: Table) -> pl.DataFrame:
    """What a query of the columns of `table` finds."""
    with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)) as copy:
        return _told(copy, table)


def write(connection: Connection, table: Table, frame: pl.DataFrame) -> int:
    """Make the rows of `table` say what `frame` says; return how many rows that changed.

    Rows that already say the same are left alone, so a rerun changes nothing; rows that `frame`
    does not mention are kept, and no row gives way to one from a weaker source.
    """
    with long_work(connection), connection.cursor() as cursor:
        if first(cursor, table, frame):
            return frame.height
        stage(cursor, table, frame)
        changed = apply(cursor, table, frame)
        cursor.execute("DROP TABLE incoming")  # another one may be written in the same transaction
        return changed


def refresh_analytics(connection: Connection, window: EpochWindow) -> int:
    """Bring the analytics rows of `window` up to date; return how many that changed."""
    with long_work(connection):
        row = connection.execute(
            "SELECT refresh_epoch_analytics(%s, %s)", [window.first, window.last]
        ).fetchone()
    return int(row[0]) if row else 0


def count(connection: Connection, table: str, window: EpochWindow) -> int:
    """How many rows of `table` are in `window`."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE epoch BETWEEN %s AND %s")
    row = connection.execute(
        query.format(sql.Identifier(table)), [window.first, window.last]
    ).fetchone()
    return int(row[0]) if row else 0


def first(cursor: Cursor, table: Table, frame: pl.DataFrame) -> bool:
    """Copy rows straight to where the table has none; False where that cannot be.

    It costs half of what comparing them does.
    """
    if frame.is_empty():
        return False
    names = _names(table, frame["epoch"].min(), frame["epoch"].max())
    straight = STRAIGHT.format(**names, name=sql.Literal(table.name))
    if cursor.execute(straight).fetchone() != (True,):
        return False
    try:
        with cursor.connection.transaction():
            _fill(cursor, table, frame, into=table.name)
    except errors.UniqueViolation:  # somebody else was at it, too
        return False
    return True


def stage(cursor: Cursor, table: Table, frame: pl.DataFrame) -> None:
    cursor.execute(STAGE.format(**_names(table, 0, 0)))
    if table is EPOCHS:
        cursor.execute(KEEP_AS_IT_COMES)
    _fill(cursor, table, frame, into="incoming")
    cursor.execute(ANALYZE.format(**_names(table, 0, 0)))


def _fill(cursor: Cursor, table: Table, frame: pl.DataFrame, *, into: str) -> None:
    of_epochs = table is EPOCHS
    names = _names(table, 0, 0) | {
        "table": sql.Identifier(into),
        "format": sql.SQL("text" if of_epochs else "csv"),
    }
    rows = max(1, AT_ONCE * frame.height // max(1, int(frame.estimated_size())))
    with cursor.copy(FILL.format(**names)) as copy:
        for some in frame.match_to_schema(table.columns).iter_slices(rows):
            if of_epochs:
                for row in some.iter_rows():
                    copy.write_row(row)
            else:
                copy.write(some.write_csv(include_header=False))


def apply(cursor: Cursor, table: Table, frame: pl.DataFrame) -> int:
    if frame.is_empty():
        return 0
    first, last = frame["epoch"].min(), frame["epoch"].max()
    return cursor.execute(CHANGED.format(**_names(table, first, last))).rowcount


def insert(cursor: Cursor, table: str, frame: pl.DataFrame, **constants: str) -> None:
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
