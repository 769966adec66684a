"""What the migrations leave: functions, columns and types as published, and one chain."""

import psycopg
import pytest

from operator_prices.epochs.tables import TABLES, Table
from operator_prices.store import objects
from operator_prices_tests.support.schema import MIGRATIONS

TOLD_TYPES = {
    "operator_share_prices": "epoch integer, operator_id integer, share_price_perq numeric(40,0),"
    " source text, inserted_at timestamp with time zone",
    "operator_shares": "epoch integer, operator_id integer, shares_raw numeric(40,0),"
    " inserted_at timestamp with time zone",
    "operators_metadata": "operator_id integer, name text, color text, first_seen_epoch integer,"
    " last_seen_epoch integer, is_active boolean, metadata jsonb,"
    " created_at timestamp with time zone, updated_at timestamp with time zone",
    "epochs": "epoch bigint, end_block bigint, end_hash text, timestamp bigint, data jsonb,"
    " created_at timestamp with time zone",
}


def test_functions_survive_the_splitting_into_statements(database: psycopg.Connection) -> None:
    text = "".join((objects.SQL / f"{name}.sql").read_text() for name in MIGRATIONS)
    functions: dict[str, str] = dict(
        database.execute(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchall()
    )
    assert set(functions) == {
        "announce_epoch",
        "epoch_analytics_of",
        "epoch_document",
        "hex_to_numeric",
        "hidden_tables",
        "keep_ends_of_document",
        "keep_original_epoch",
        "nominator_sums",
        "note_data_change",
        "number_or_null",
        "operator_events",
        "operator_points_of",
        "parse_comma_number",
        "published_object",
        "raise_data_version",
        "refresh_epoch_analytics",
        "refresh_epoch_analytics_rows",
        "refresh_epoch_documents",
        "row_security_state",
        "shares_to_stake",
        "stake_per_share",
        "stake_to_shares",
        "status_in_words",
    }
    for written_by_a_do_block in ("keep_original_epoch", "note_data_change", "raise_data_version"):
        del functions[written_by_a_do_block]
    objects_of_nominators = (
        *("nominator_epochs", "raw_nominators", "nominator_positions", "nominator_accounts"),
    )
    for changed_by_one, after, before in (
        *(
            (name, f", {', '.join(objects_of_nominators)}", "")
            for name in ("hidden_tables", "row_security_state")
        ),
    ):
        assert after in functions[changed_by_one]
        functions[changed_by_one] = functions[changed_by_one].replace(after, before)
    assert all(body in text for body in functions.values())


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_postgres_has_the_tables_we_declare(database: psycopg.Connection, table: Table) -> None:
    columns = database.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table.name]
    )
    key = database.execute(
        "SELECT attname FROM pg_index"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
        " WHERE indisprimary AND indrelid = %s::regclass ORDER BY attnum",
        [table.name],
    )
    assert set(table.columns) <= {name for (name,) in columns}
    assert table.key == tuple(name for (name,) in key)


@pytest.mark.parametrize("table", TOLD_TYPES)
def test_published_columns_have_their_published_types(
    database: psycopg.Connection, table: str
) -> None:
    types: dict[str, str] = dict(
        database.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0",
            [table],
        ).fetchall()
    )
    told = dict(column.split(" ", 1) for column in TOLD_TYPES[table].split(", "))
    assert {name: types[name] for name in told} == told


def test_one_operators_series_is_read_from_the_index_alone(database: psycopg.Connection) -> None:
    database.execute(
        "INSERT INTO operator_share_prices"
        " SELECT e, o, 5 FROM generate_series(1, 300) AS e, generate_series(1, 30) AS o"
    )
    database.execute("VACUUM ANALYZE operator_share_prices")
    plan = database.execute(
        "EXPLAIN SELECT epoch, share_price_perq FROM operator_share_prices"
        " WHERE operator_id = 3 ORDER BY epoch"
    ).fetchall()
    assert "Index Only Scan" in str(plan)


def test_a_database_is_of_one_chain(database: psycopg.Connection) -> None:
    database.execute("INSERT INTO chain_identity VALUES ('0xaa', 0)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("INSERT INTO chain_identity VALUES ('0xbb', 0)")
