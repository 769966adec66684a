import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from operator_prices.epochs.tables import TABLES, Table
from operator_prices.legacy.entries import OPERATORS_PREFIX, PRICES_PREFIX
from operator_prices.local.postgres import programs
from operator_prices.store import migrations, objects
from operator_prices.store.migrations import MigrationError

MIGRATIONS = [
    "01_create_normalized_tables",
    "02_create_number_functions",
    "03_update_comprehensive_view",
    "04_create_chain_tables",
    "06_create_serving",
    "07_create_legacy_tables",
    "08_create_alert_incidents",
    "09_create_source_head",
    "10_protect",
    "11_first_generation",
    "12_create_run_signs",
    "13_create_nominators",
]

OLD_DATABASE = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp BIGINT NOT NULL,
  data JSONB NOT NULL,
  created_at TIMESTAMPTZ DEFAULT now(),
  "a note" TEXT DEFAULT 'by hand'
);
CREATE INDEX idx_epochs_timestamp ON epochs (timestamp);
COMMENT ON TABLE epochs IS 'snapshots';

CREATE FUNCTION parse_comma_number(text_val text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF text_val IS NULL OR text_val = '' THEN RETURN 0; END IF;
  RETURN replace(text_val, ',', '')::numeric;
EXCEPTION WHEN OTHERS THEN
  RETURN 0;
END;
$$;
COMMENT ON FUNCTION parse_comma_number(text) IS 'never fails';

CREATE FUNCTION hex_to_numeric(hex_val text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN ('x' || lpad(replace(hex_val, '0x', ''), 16, '0'))::bit(64)::bigint::numeric;
EXCEPTION WHEN OTHERS THEN
  RETURN 0;
END;
$$;

INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)
  SELECT n, 100 + 117 * n, '0x' || md5(n::text) || md5(n::text), 1756259880862 + n,
         jsonb_build_object(
           'epoch', n, 'totalShares', '0', 'accumulatedTreasuryFunds', '1,000',
           'domainStakingSummary', jsonb_build_object(
             'currentTotalStake', '5,603,515,738,263,458,513,279,911',
             'currentOperators', '{"0": "2,950,888,179,878,850,776,696,112"}'::jsonb),
           'operators', '{"count": 1, "entries": []}'::jsonb)
  FROM generate_series(0, 299) AS n;
INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)
  VALUES (300, 40000, '0x', 0, '{"domainStakingSummary": {"currentTotalStake": "about 5"}}'),
         (301, 40100, '0x', 0, '"no object"');

CREATE MATERIALIZED VIEW comprehensive_analytics AS
  SELECT epoch, timestamp,
         parse_comma_number(data -> 'domainStakingSummary' ->> 'currentTotalStake')
           AS total_stake_raw,
         parse_comma_number(data -> 'domainStakingSummary' ->> 'currentTotalStake') / 1e18
           AS total_stake_tokens,
         parse_comma_number(data ->> 'totalShares') AS total_shares_raw,
         1.0 AS network_share_price_ratio,
         hex_to_numeric('0xff') AS extra
  FROM epochs;
CREATE UNIQUE INDEX idx_comprehensive_analytics ON comprehensive_analytics (epoch);
CREATE VIEW latest_analytics AS
  SELECT * FROM comprehensive_analytics ORDER BY epoch DESC LIMIT 1;
"""

VIEW_COLUMNS = """
epoch end_block timestamp epoch_datetime epoch_date
total_stake_raw total_stake_tokens total_shares_raw total_shares_tokens network_share_price_ratio
treasury_funds_raw treasury_funds_tokens chain_rewards_raw chain_rewards_tokens
storage_fee_fund_raw storage_fee_fund_tokens storage_fee_percentage
operator_0_stake_tokens operator_1_stake_tokens operator_2_stake_tokens operator_3_stake_tokens
operator_0_rewards_tokens operator_1_rewards_tokens
operator_2_rewards_tokens operator_3_rewards_tokens
operator_0_shares_raw operator_1_shares_raw operator_2_shares_raw operator_3_shares_raw
operator_0_share_price_tokens operator_1_share_price_tokens
operator_2_share_price_tokens operator_3_share_price_tokens
operator_count deposits_count withdrawals_count bundles_count
operator_share_prices_json operator_stakes_json operator_rewards_json operator_shares_json
operator_stake_per_share_json
operator_total_stakes_json operator_price_sources_json operator_statuses_json domain_id
"""

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


@pytest.fixture
def old(dsn: str) -> str:
    """A database of the old system, with rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_DATABASE)
    return dsn


@pytest.fixture
def role(server: str) -> Iterator[str]:
    """A role that may do nothing in particular."""
    name = f"role_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


MIGRATE = "import sys; from operator_prices.store.migrations import migrate; migrate(sys.argv[1])"


def dump(dsn: str) -> list[str]:
    """Everything in the database as pg_dump writes it, in an order of its own."""
    text = subprocess.run(
        [programs.binaries() / "pg_dump", "--dbname", dsn],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(line for line in text.splitlines() if not line.startswith(("--", "\\")))


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def verified(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """What each of the verification queries returns, by its name."""
    told = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute((objects.SQL / "05_verify_migration.sql").read_bytes())
        while True:
            if cursor.description:
                told[cursor.description[0].name] = cursor.fetchall()
            if not cursor.nextset():
                return told


def offended(dsn: str) -> set[str]:
    return {name for name, found in verified(dsn).items() if name.startswith("no ") and found}


def keep_epoch(
    connection: psycopg.Connection,
    epoch: int,
    data: object,
    *,
    source: str | None = "chain",
    complete: bool | None = True,
) -> None:
    """Write an epoch as the pipeline does."""
    connection.execute(
        "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data, domain_id, source,"
        " transition_block, complete) VALUES (%s, %s, %s, 1756259880862, %s, 0, %s, %s, %s)"
        " ON CONFLICT (epoch) DO UPDATE SET (data, source, transition_block, complete)"
        " = ROW (excluded.data, excluded.source, excluded.transition_block, excluded.complete)",
        [
            epoch,
            1000 + epoch,
            "0x" + "ab" * 32,
            Jsonb(data),
            source,
            1001 + epoch,
            complete,
        ],
    )


def keep_operator(
    connection: psycopg.Connection,
    epoch: int,
    operator_id: int,
    *,
    shares: int,
    stake: int,
    active: int,
    reward: int,
    tax: int = 10,
) -> None:
    connection.execute(
        "INSERT INTO operator_shares (epoch, operator_id, shares_raw, stake_raw, active_stake_raw,"
        " reward_raw, storage_fee_deposit_raw, nomination_tax, status, source)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'Registered', 'chain')",
        [epoch, operator_id, shares, stake, active, reward, stake // 4, tax],
    )


def refresh(connection: psycopg.Connection, first: int = 0, last: int = 1_000) -> int:
    row = connection.execute("SELECT refresh_epoch_analytics(%s, %s)", [first, last]).fetchone()
    assert row
    return int(row[0])


def view(connection: psycopg.Connection, epoch: int, columns: str) -> tuple[object, ...]:
    """Some columns of the view, named in one text, of an epoch."""
    row = connection.execute(
        sql.SQL("SELECT {} FROM comprehensive_analytics WHERE epoch = {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns.split())), epoch
        )
    ).fetchone()
    assert row
    return row


def test_migrations_are_applied_once_and_in_order(dsn: str) -> None:
    assert migrations.pending(dsn) == MIGRATIONS
    assert migrations.migrate(dsn) == MIGRATIONS
    assert migrations.migrate(dsn) == []
    assert migrations.pending(dsn) == []


def test_asking_what_is_pending_changes_nothing(dsn: str) -> None:
    before = dump(dsn)
    migrations.pending(dsn)
    assert dump(dsn) == before


def test_a_rollback_leaves_a_fresh_database_empty(dsn: str) -> None:
    before = dump(dsn)
    migrations.migrate(dsn)
    with psycopg.connect(dsn) as connection:
        keep_epoch(connection, 1, {})
        connection.execute("CREATE TABLE dagster.runs (id INTEGER)")
    assert migrations.rollback(dsn) == MIGRATIONS[::-1]
    assert dump(dsn) == before
    assert migrations.rollback(dsn) == []
    assert migrations.migrate(dsn) == MIGRATIONS


def test_an_old_database_keeps_its_rows_and_its_view(old: str) -> None:
    facts = "SELECT epoch, end_block, end_hash, timestamp, data, created_at FROM epochs ORDER BY 1"
    answers = "SELECT * FROM comprehensive_analytics ORDER BY epoch"
    file = "SELECT pg_relation_filenode('epochs')"
    stored, answered, stored_in = rows(old, facts), rows(old, answers), rows(old, file)

    migrations.migrate(old)

    assert rows(old, facts) == stored
    assert rows(old, file) == stored_in  # the table was not rewritten
    assert rows(old, answers.replace("analytics", "analytics_old")) == answered
    assert rows(old, answers) == []
    assert rows(old, "SELECT count(source) FROM epochs") == [(0,)]


def test_a_rollback_restores_an_old_database_to_the_byte(old: str) -> None:
    facts = "SELECT * FROM epochs ORDER BY epoch"
    answers = "SELECT * FROM comprehensive_analytics ORDER BY epoch"
    before, stored, answered = dump(old), rows(old, facts), rows(old, answers)

    migrations.migrate(old)
    with psycopg.connect(old) as connection:
        keep_epoch(connection, 7, {"reduced": True}, source="legacy")
        keep_epoch(connection, 7, {"read": "again"})
        keep_epoch(connection, 8, {"reduced": True}, source=None)
        keep_epoch(connection, 9_000, {"new": True})
        connection.execute("DELETE FROM epochs WHERE epoch IN (9, 10)")
        keep_epoch(connection, 10, {"back": True})
        keep_operator(connection, 7, 0, shares=1, stake=1, active=1, reward=0)
        refresh(connection, 0, 10_000)
        connection.execute("REFRESH MATERIALIZED VIEW comprehensive_analytics_old WITH NO DATA")
        with pytest.raises(psycopg.DataError, match="about 5"), connection.transaction():
            connection.execute("REFRESH MATERIALIZED VIEW comprehensive_analytics_old")
    migrations.rollback(old)

    assert rows(old, facts) == stored
    with psycopg.connect(old) as connection:
        connection.execute("REFRESH MATERIALIZED VIEW comprehensive_analytics")
    assert rows(old, answers) == answered
    assert dump(old) == before


def test_rows_that_the_old_system_adds_meanwhile_survive_a_rollback(old: str) -> None:
    migrations.migrate(old)
    with psycopg.connect(old) as connection:
        connection.execute("INSERT INTO epochs VALUES (400, 50000, '0x', 5, '{}')")
    migrations.rollback(old)
    assert rows(old, "SELECT end_block FROM epochs WHERE epoch = 400") == [(50000,)]


def test_the_old_writer_goes_on_writing_and_the_old_readers_reading(old: str, role: str) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "GRANT SELECT, INSERT, UPDATE ON epochs TO {0};"
                "GRANT SELECT ON comprehensive_analytics TO {0}"
            ).format(sql.Identifier(role))
        )
        before = dump(old)
        migrations.migrate(old)
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute("UPDATE epochs SET data = '{}' WHERE epoch = 3")
        connection.execute("SELECT * FROM comprehensive_analytics")
        connection.execute("RESET ROLE")
        migrations.rollback(old)
        assert dump(old) == before
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


def test_a_plain_view_and_a_schema_that_were_there_stay(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE VIEW comprehensive_analytics AS SELECT 1 AS epoch;"
            "CREATE SCHEMA dagster; CREATE TABLE dagster.runs (id INTEGER)"
        )
    before = dump(dsn)
    migrations.migrate(dsn)
    assert rows(dsn, "SELECT * FROM comprehensive_analytics_old") == [(1,)]
    migrations.rollback(dsn)
    assert dump(dsn) == before


def test_a_table_that_only_shares_its_name_is_refused_in_one_sentence(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, data TEXT)")
    with pytest.raises(MigrationError, match="data, end_block, end_hash, timestamp"):
        migrations.migrate(dsn)
    assert migrations.pending(dsn) == MIGRATIONS


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ("ALTER TABLE epochs DROP CONSTRAINT epochs_pkey", "no primary or unique key on epoch"),
        ("ALTER TABLE epochs ADD COLUMN source TEXT", "column source already"),
        ("CREATE TABLE operator_shares (x INTEGER)", '"operator_shares" already exists'),
    ],
)
def test_an_old_database_in_the_way_is_left_alone(old: str, change: str, fact: str) -> None:
    with psycopg.connect(old) as connection:
        connection.execute(sql.SQL(change))
    before = rows(old, "SELECT * FROM epochs ORDER BY epoch")
    with pytest.raises(MigrationError, match=fact):
        migrations.migrate(old)
    assert rows(old, "SELECT * FROM epochs ORDER BY epoch") == before


def test_a_database_of_a_newer_version_is_refused(dsn: str) -> None:
    migrations.migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO _yoyo_migration VALUES ('hash', '99_from_the_future')")
    for step in (migrations.migrate, migrations.rollback):
        with pytest.raises(MigrationError, match="99_from_the_future"):
            step(dsn)


def test_of_several_at_once_one_migrates_and_the_others_find_it_done(dsn: str) -> None:
    with ThreadPoolExecutor() as pool:
        applied = sorted(pool.map(migrations.migrate, [dsn] * 4))
    assert applied == [[], [], [], MIGRATIONS]


def test_a_migration_and_its_mark_are_one_transaction(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "01_unmarkable.sql").write_text(
        "CREATE TABLE made (); ALTER TABLE _yoyo_migration ADD CHECK (migration_id = 'another')"
    )
    monkeypatch.setattr(objects, "SQL", tmp_path)
    with pytest.raises(MigrationError, match="01_unmarkable failed"):
        migrations.migrate(dsn)
    assert rows(dsn, "SELECT to_regclass('made')") == [(None,)]


def test_a_killed_migration_leaves_nothing_behind(old: str) -> None:
    with psycopg.connect(old) as busy, psycopg.connect(old, autocommit=True) as watching:
        busy.execute("SELECT FROM epochs")  # and the transaction stays open
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                MIGRATE,
                old,
            ],
            cwd=objects.SQL.parent,
        )
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND application_name = 'operator-prices migrate'"
        )
        until = time.monotonic() + 30
        while not watching.execute(waiting).fetchone() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        watching.execute("INSERT INTO yoyo_lock VALUES (1, now(), 1)")  # as yoyo itself leaves it
    assert migrations.pending(old) == MIGRATIONS
    assert migrations.migrate(old) == MIGRATIONS


def test_a_busy_table_stops_a_migration_and_not_its_readers(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "300ms")
    with psycopg.connect(old) as busy:
        busy.execute("SELECT FROM epochs")
        with pytest.raises(MigrationError, match=r"01_create_normalized_tables waited 300ms"):
            migrations.migrate(old)
        assert rows(old, "SELECT count(*) FROM epochs") == [(302,)]
    assert migrations.migrate(old) == MIGRATIONS


def test_a_second_migration_does_not_wait_for_ever(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE", "300ms")
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [migrations.LOCK])
        with pytest.raises(MigrationError, match="Another process"):
            migrations.migrate(dsn)


def test_readers_of_the_old_tables_read_on_all_the_while(old: str) -> None:
    done = threading.Event()

    def read() -> float:
        longest = 0.0
        with psycopg.connect(old, autocommit=True) as connection:
            while not done.is_set():
                start = time.perf_counter()
                connection.execute("SELECT count(*) FROM epochs")
                connection.execute("SELECT count(*) FROM comprehensive_analytics")
                longest = max(longest, time.perf_counter() - start)
        return longest

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            migrations.migrate(old)
            migrations.rollback(old)
        finally:
            done.set()
        assert max(reader.result() for reader in readers) < 1


def test_a_role_that_owns_the_database_is_enough(server: str, role: str) -> None:
    name = f"owned_{uuid4().hex}"
    names = {"name": sql.Identifier(name), "role": sql.Identifier(role)}
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {name} OWNER {role}").format(**names))
        try:
            dsn = make_conninfo(server, dbname=name, options=f"-c role={role}")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(OLD_DATABASE)
            before = dump(dsn)
            assert migrations.migrate(dsn) == MIGRATIONS
            with psycopg.connect(dsn, autocommit=True) as connection:
                keep_epoch(connection, 5, {})
                refresh(connection)
            verified(dsn)
            migrations.rollback(dsn)
            assert dump(dsn) == before
        finally:
            admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


def as_conninfo(dsn: str, user: str, dbname: str) -> str:
    return make_conninfo(dsn, user=user, dbname=dbname, password="p@ss w'o/r:d%?&#=\\")  # noqa: S106


def as_url(dsn: str, user: str, dbname: str) -> str:
    parts = {key: quote(str(value), safe="") for key, value in conninfo_to_dict(dsn).items()}
    password = quote("p@ss w'o/r:d%?&#=\\", safe="")
    return (
        f"postgresql://{quote(user, safe='')}:{password}@/{quote(dbname, safe='')}"
        f"?host={parts['host']}&port={parts.get('port', '5432')}&options=-c%20datestyle%3DGerman"
    )


def as_url_without_password(dsn: str, user: str, dbname: str) -> str:
    host = conninfo_to_dict(dsn)["host"]
    return f"postgresql://{quote(user, safe='')}:@/{quote(dbname, safe='')}?host={host}"


@pytest.mark.parametrize("written", [as_conninfo, as_url, as_url_without_password])
def test_whatever_psycopg_understands_is_understood(
    server: str, written: Callable[[str, str, str], str]
) -> None:
    if not str(conninfo_to_dict(server).get("host", "")).startswith("/"):
        pytest.skip("only the embedded server trusts any password")
    odd = f"o'd d/n@me?%:&{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {0} LOGIN").format(sql.Identifier(odd)))
        admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(odd)))
        try:
            dsn = written(server, odd, odd)
            assert migrations.migrate(dsn) == MIGRATIONS
            assert rows(
                make_conninfo(server, dbname=odd),
                "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'",
            ) == [(odd,)]
            assert migrations.pending(dsn) == []
            assert migrations.rollback(dsn) == MIGRATIONS[::-1]
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(odd)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(odd)))


def test_no_server_is_an_error_of_the_connection() -> None:
    with pytest.raises(psycopg.OperationalError):
        migrations.migrate("host=/nowhere dbname=none")


def test_every_migration_has_its_rollback_beside_it() -> None:
    for name in MIGRATIONS:
        assert (objects.SQL / f"{name}.sql").exists()
        assert (objects.SQL / f"{name}.rollback.sql").exists()


def test_the_files_read_the_same_under_every_locale() -> None:
    assert all(file.read_bytes().isascii() for file in objects.SQL.glob("*.sql"))


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
        "keep_original_epoch",
        "note_data_change",
        "number_or_null",
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
    }
    for written_by_a_do_block in ("keep_original_epoch", "note_data_change", "raise_data_version"):
        del functions[written_by_a_do_block]
    objects_of_nominators = (
        *("nominator_epochs", "raw_nominators", "nominator_positions", "nominator_accounts"),
    )
    for changed_by_one, after, before in (
        ("epoch_document", "coalesce(fact.timestamp::text, 'null')", "fact.timestamp"),
        ("epoch_analytics_of", "\n           FILTER (WHERE shares_raw IS NOT NULL)", ""),
        *(
            (name, f", {', '.join(objects_of_nominators)}", "")
            for name in ("hidden_tables", "row_security_state")
        ),
    ):
        assert after in functions[changed_by_one]
        functions[changed_by_one] = functions[changed_by_one].replace(after, before)
    for wrapped_by_one in ("epoch_analytics_of", "operator_points_of"):
        functions[wrapped_by_one] = functions[wrapped_by_one][
            len("BEGIN RETURN QUERY") : -len(";\nEND")
        ]
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


def numbers() -> list[int]:
    draw = random.Random(7)  # noqa: S311
    edges = [
        0,
        1,
        9,
        10,
        999,
        1000,
        2**31,
        2**32 - 1,
        2**63,
        2**64 - 1,
        2**64,
        2**128 - 1,
        2**256 - 1,
    ]
    return edges + [draw.getrandbits(draw.randint(1, 256)) for _ in range(2_000)]


def grouped(number: int) -> str:
    return f"{number:,}"


def padded(number: int) -> str:
    return f"0x{number:080X}"


@pytest.mark.parametrize(
    ("function", "spelled"),
    [
        ("parse_comma_number", str),
        ("parse_comma_number", grouped),
        ("parse_comma_number", hex),
        ("parse_comma_number", padded),
        ("number_or_null", grouped),
        ("number_or_null", padded),
        ("hex_to_numeric", hex),
        ("hex_to_numeric", padded),
        ("hex_to_numeric", "{:x}".format),
        ("hex_to_numeric", "0X{:X}".format),
    ],
)
def test_numbers_are_read_to_the_last_digit(
    database: psycopg.Connection, function: str, spelled: Callable[[int], str]
) -> None:
    wanted = numbers()
    read = database.execute(
        sql.SQL(
            "SELECT {}(n)::text FROM unnest(%s::text[]) WITH ORDINALITY AS t (n, i) ORDER BY i"
        ).format(sql.Identifier(function)),
        [[spelled(number) for number in wanted]],
    )
    assert [int(text) for (text,) in read] == wanted


@pytest.mark.parametrize("function", ["parse_comma_number", "hex_to_numeric"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_no_text_is_zero_as_it_always_was(
    database: psycopg.Connection, function: str, nothing: str | None
) -> None:
    query = sql.SQL("SELECT {}(%s::text)").format(sql.Identifier(function))
    assert database.execute(query, [nothing]).fetchone() == (0,)
    assert database.execute("SELECT number_or_null(%s)", [nothing]).fetchone() == (None,)


BAD_NUMBERS = [
    *("0x", "0X", "-", "-1", "+1", "1.5", "NaN", " ", " 1", "1 ", "1\n", "12 34", "'", "None"),
    *("0xg1", "0x0x1", "0x1,000", "0x" + "1" * 65, "x12"),
]
BAD_DECIMALS = [
    *("abc", "ff", "1e5", "1,2,,3", ",123", "1,", "12,34", "1,0000", "1,000,00", str(2**256)),
]
BAD_HEX = ["1,000", "1" * 65]


@pytest.mark.parametrize(
    ("function", "texts"),
    [("parse_comma_number", BAD_NUMBERS + BAD_DECIMALS), ("hex_to_numeric", BAD_NUMBERS + BAD_HEX)],
)
def test_what_is_no_number_is_an_error_that_names_it(
    database: psycopg.Connection, function: str, texts: list[str]
) -> None:
    query = sql.SQL("SELECT {}(%s)").format(sql.Identifier(function))
    for text in texts:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as raised:
            database.execute(query, [text])
        assert text.replace("'", "''") in str(raised.value)


def test_what_is_no_number_may_also_be_unknown(database: psycopg.Connection) -> None:
    unknown = database.execute(
        "SELECT number_or_null(n) FROM unnest(%s::text[]) AS t (n)", [BAD_NUMBERS + BAD_DECIMALS]
    )
    assert {number for (number,) in unknown} == {None}


def test_the_view_has_the_published_columns_in_their_order(database: psycopg.Connection) -> None:
    cursor = database.execute("SELECT * FROM comprehensive_analytics")
    assert [column.name for column in cursor.description or []] == VIEW_COLUMNS.split()


def test_tokens_are_exact_beyond_64_bits(database: psycopg.Connection) -> None:
    stake, shares, reward = 2**128 - 1, 2**64 + 1, 2**65 + 3
    told = {
        "domainStakingSummary": {"currentTotalStake": f"{stake:,}"},
        "accumulatedTreasuryFunds": "18446744073709551617",
        "domainChainRewards": 5,
    }
    keep_epoch(database, 1, told)
    keep_operator(database, 1, 0, shares=shares, stake=stake, active=stake - 1, reward=reward)
    keep_operator(database, 1, 2, shares=0, stake=7, active=0, reward=0)
    refresh(database)

    whole = "total_stake_raw total_shares_raw operator_0_shares_raw storage_fee_fund_raw"
    assert view(database, 1, whole) == (stake, shares, shares, stake // 4 + 1)
    tokens = "total_stake_tokens treasury_funds_tokens chain_rewards_tokens operator_0_stake_tokens"
    assert view(database, 1, tokens + " operator_0_rewards_tokens operator_2_stake_tokens") == (
        Decimal("340282366920938463463.374607431768211455"),
        Decimal("18.446744073709551617"),
        Decimal("0.000000000000000005"),
        Decimal("340282366920938463463.374607431768211454"),
        Decimal("36.893488147419103235"),
        0,
    )
    ratios = "operator_0_share_price_tokens network_share_price_ratio storage_fee_percentage"
    worth = stake + reward - reward * 10 // 100
    assert view(database, 1, ratios) == tuple(
        Decimal(text)  # and not scaleb, which rounds to 28 digits
        for text in (
            f"{worth * 10**18 // shares}e-18",
            f"{stake * 10**18 // shares}e-18",
            f"{(stake // 4 + 1) * 10**20 // stake}e-18",
        )
    )
    assert view(database, 1, "operator_1_shares_raw operator_2_share_price_tokens") == (None, None)


def test_every_operator_is_in_the_json_as_text(database: psycopg.Connection) -> None:
    keep_epoch(database, 1, {})
    for operator in (0, 63):
        keep_operator(database, 1, operator, shares=10**24, stake=2 * 10**24, active=0, reward=0)
        database.execute(
            "INSERT INTO operator_share_prices (epoch, operator_id, share_price_perq, source)"
            " VALUES (1, %s, 500000000000000000, 'derived')",
            [operator],
        )
    keep_operator(database, 1, 5, shares=0, stake=0, active=0, reward=9)
    refresh(database)

    def told(value: object) -> dict[str, str]:
        return {"0": str(value), "63": str(value)}

    def of(name: str) -> object:
        return view(database, 1, name)[0]

    assert of("operator_share_prices_json") == told(5 * 10**17)
    assert of("operator_price_sources_json") == told("derived")
    assert of("operator_stake_per_share_json") == told(2 * 10**18)
    assert of("operator_stakes_json") == {**told(0), "5": "0"}
    assert of("operator_total_stakes_json") == {**told(2 * 10**24), "5": "0"}
    assert of("operator_rewards_json") == {**told(0), "5": "9"}
    assert of("operator_shares_json") == {**told(10**24), "5": "0"}
    assert of("operator_statuses_json") == {**told("Registered"), "5": "Registered"}
    assert of("operator_count") == 3


@pytest.mark.parametrize(
    "data", [{"domainStakingSummary": {"currentTotalStake": "about 5"}}, "no object", None, {}]
)
def test_what_is_unknown_is_null_and_never_zero(database: psycopg.Connection, data: object) -> None:
    keep_epoch(database, 1, data, source=None, complete=None)
    refresh(database)
    told = VIEW_COLUMNS.split()[5:-1]
    assert view(database, 1, " ".join(told)) == (None,) * len(told)


def test_an_epoch_without_operators_has_none_if_it_is_complete(
    database: psycopg.Connection,
) -> None:
    keep_epoch(database, 1, {"deposits": {"count": 0}, "withdrawals": {"count": None}})
    refresh(database)
    totals = "operator_count total_shares_raw storage_fee_fund_raw network_share_price_ratio"
    assert view(database, 1, totals) == (0, 0, 0, None)
    assert view(database, 1, "operator_shares_json operator_share_prices_json") == ({}, {})
    assert view(database, 1, "deposits_count withdrawals_count bundles_count") == (0, None, None)


def test_no_total_is_told_without_an_operator_that_is_in_quarantine(
    database: psycopg.Connection,
) -> None:
    lost = {"item": "Operators", "operatorId": "7", "reason": "too long"}
    keep_epoch(database, 1, {"quarantined": [lost]}, complete=False)
    keep_epoch(database, 2, {"quarantined": [{**lost, "operatorId": "0"}]}, complete=False)
    for epoch in (1, 2):
        keep_operator(database, epoch, 0, shares=5, stake=5, active=5, reward=0)
    refresh(database)
    totals = "operator_count total_shares_raw network_share_price_ratio storage_fee_fund_raw"
    assert view(database, 1, totals + " operator_0_shares_raw") == (None, None, None, None, 5)
    assert view(database, 2, totals) == (1, 5, 1, 1)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_times_are_the_same_in_every_time_zone(database: psycopg.Connection, zone: str) -> None:
    keep_epoch(database, 1, {})
    keep_epoch(database, 2, {})
    database.execute("UPDATE epochs SET timestamp = 1756252799999 WHERE epoch = 1")
    database.execute("UPDATE epochs SET timestamp = 1756252800000 WHERE epoch = 2")
    database.execute("SELECT set_config('timezone', %s, false)", [zone])
    refresh(database)
    assert view(database, 1, "epoch_datetime epoch_date") == (
        datetime(2025, 8, 26, 23, 59, 59, 999_000, UTC),
        date(2025, 8, 26),
    )
    assert view(database, 2, "epoch_datetime epoch_date") == (
        datetime(2025, 8, 27, tzinfo=UTC),
        date(2025, 8, 27),
    )


def test_a_refresh_touches_only_what_differs(database: psycopg.Connection) -> None:
    for epoch in (5, 6, 7):
        keep_epoch(database, epoch, {})
    assert refresh(database, 0, 6) == 2
    assert refresh(database, 0, 6) == 0
    places = "SELECT epoch, ctid FROM epoch_analytics ORDER BY epoch"
    before = database.execute(places).fetchall()

    keep_operator(database, 6, 0, shares=5, stake=5, active=5, reward=0)
    keep_operator(database, 7, 0, shares=5, stake=5, active=5, reward=0)
    assert refresh(database, 0, 6) == 1
    assert database.execute(places).fetchall()[0] == before[0]
    assert view(database, 6, "operator_count") == (1,)

    database.execute("DELETE FROM epochs WHERE epoch = 5")
    assert refresh(database, 5, 5) == 1
    assert database.execute("SELECT epoch FROM comprehensive_analytics").fetchall() == [(6,)]


def test_two_refreshes_at_once_agree(dsn: str, database: psycopg.Connection) -> None:
    for epoch in range(50):
        keep_epoch(database, epoch, {})
        keep_operator(database, epoch, 0, shares=5, stake=5, active=5, reward=0)

    def work(_: int) -> int:
        with psycopg.connect(dsn) as connection:
            return refresh(connection)

    with ThreadPoolExecutor() as pool:
        assert max(pool.map(work, range(4))) == 50
    assert refresh(database) == 0


STAKE, SHARES = 2**90 + 1, 2**89


def price_key(operator: int, domain: int, epoch: int) -> str:
    return (
        PRICES_PREFIX
        + (
            operator.to_bytes(8, "little")
            + domain.to_bytes(4, "little")
            + epoch.to_bytes(4, "little")
        ).hex()
    )


def operator_key(operator: int) -> str:
    return OPERATORS_PREFIX + operator.to_bytes(8, "little").hex()


def snapshot(*prices: tuple[str, str]) -> dict[str, object]:
    """An epoch as the old script wrote it, with operator 3 in first place."""
    body = (
        f'{{"nominationTax":7,"currentTotalStake":"0x{STAKE:032x}","currentTotalShares":{SHARES},'
        '"partialStatus":{"registered":null},"totalStorageFeeDeposit":0}'
    )
    return {
        "domainStakingSummary": {
            "currentTotalStake": f"{STAKE:,}",
            "currentOperators": {"3": f"{STAKE:,}"},
            "currentEpochRewards": {},
        },
        "operators": {"entries": [{"key": ["0"], "value": f"{operator_key(3)},{body}"}]},
        "operatorEpochSharePrice": {
            "entries": [
                {"key": [str(place)], "value": f"{key},{price}"}
                for place, (key, price) in enumerate(prices)
            ]
        },
    }


def document(epoch: int, price: str) -> dict[str, object]:
    """An epoch as the pipeline writes it."""
    body = {
        "nominationTax": 7,
        "currentTotalStake": str(STAKE),
        "currentTotalShares": str(SHARES),
        "partialStatus": "Registered",
        "totalStorageFeeDeposit": "0",
    }
    return {
        "domainStakingSummary": {
            "currentTotalStake": str(STAKE),
            "currentOperators": {"3": str(STAKE)},
            "currentEpochRewards": {},
        },
        "operators": {"entries": [{"key": ["3"], "value": body}]},
        "operatorEpochSharePrice": {"entries": [{"key": ["3", f"[0,{epoch}]"], "value": price}]},
    }


def keep_table_rows(connection: psycopg.Connection) -> None:
    """What the tables must say of epochs 0 and 1 as `snapshot` tells them, and 2 as `document`."""
    told = [
        (price_key(3, 0, 0), "999,999,999,999,999,999"),
        (price_key(3, 1, 0), "5"),  # another domain
        (price_key(4, 0, 0), "0"),  # no price
        (price_key(9, 0, 0), "none"),
    ]
    keep_epoch(connection, 0, snapshot(), source="legacy", complete=None)
    keep_epoch(connection, 1, snapshot(*told), source="legacy", complete=None)
    keep_epoch(connection, 2, document(2, "777"))
    for epoch, price, price_source, source in (
        (0, 999999999999999999, "epochs_json", "legacy"),
        (1, SHARES * 10**18 // STAKE, "derived", "legacy"),
        (2, 777, "chain", "chain"),
    ):
        connection.execute(
            "INSERT INTO operator_share_prices (epoch, operator_id, share_price_perq, source)"
            " VALUES (%s, 3, %s, %s)",
            [epoch, price, price_source],
        )
        connection.execute(
            "INSERT INTO operator_shares VALUES"
            " (%s, 3, %s, %s, %s, 0, 0, 7, 'Registered', NULL, NULL, %s)",
            [epoch, SHARES, STAKE, STAKE, source],
        )
    connection.execute("INSERT INTO operators_metadata (operator_id) VALUES (3)")
    refresh(connection)


def test_an_empty_database_offends_in_nothing(dsn: str, database: psycopg.Connection) -> None:
    assert not database.closed
    assert offended(dsn) == set()


def test_tables_that_say_what_the_raw_json_says_offend_in_nothing(
    dsn: str, database: psycopg.Connection
) -> None:
    keep_table_rows(database)
    assert offended(dsn) == set()


@pytest.mark.parametrize(
    ("wrong", "offence"),
    [
        ("DELETE FROM epochs WHERE epoch = 1", "no gap"),
        ("UPDATE epochs SET complete = false WHERE epoch = 2", "no incomplete epoch"),
        ("DELETE FROM operators_metadata", "no operator without metadata"),
        *(
            (
                f"UPDATE operator_shares SET {column} = 11 WHERE epoch = 0",  # noqa: S608
                "no operator differs from the raw JSON",
            )
            for column in (
                *("shares_raw", "stake_raw", "active_stake_raw", "reward_raw"),
                *("storage_fee_deposit_raw", "nomination_tax"),
            )
        ),
        (
            "UPDATE operator_shares SET status = 'Slashed' WHERE epoch = 2",
            "no operator differs from the raw JSON",
        ),
        ("DELETE FROM operator_shares WHERE epoch = 2", "no operator differs from the raw JSON"),
        (
            "UPDATE operator_shares SET operator_id = 0 WHERE epoch = 0",
            "no operator that the raw JSON lacks",
        ),
        (
            "UPDATE operator_share_prices SET share_price_perq = 1 WHERE epoch = 0",
            "no price differs from the raw JSON",
        ),
        (
            "UPDATE operator_share_prices SET share_price_perq = 1 WHERE epoch = 2",
            "no price differs from the raw JSON",
        ),
        (
            "DELETE FROM operator_share_prices WHERE epoch = 0",
            "no price differs from the raw JSON",
        ),
        (
            "UPDATE operator_share_prices SET source = 'epochs_json' WHERE epoch = 1",
            "no price that the raw JSON lacks",
        ),
        (
            "INSERT INTO operator_share_prices VALUES (0, 2, 5, 'derived')",
            "no operator without metadata",
        ),
        (
            "UPDATE operator_share_prices SET (share_price_perq, source) = (5, 'derived')",
            "no derived price differs from its state",
        ),
        ("UPDATE epoch_analytics SET total_stake_raw = 1", "no total differs from the raw JSON"),
        ("UPDATE epoch_analytics SET bundles_count = 1", "no stale analytics"),
        ("DELETE FROM epoch_analytics", "no stale analytics"),
        ("UPDATE operator_share_prices SET share_price_perq = 0", "no value out of range"),
        ("UPDATE operator_shares SET stake_raw = 1", "no value out of range"),
        ("UPDATE epochs SET end_hash = '0x12'", "no value out of range"),
        ("UPDATE epochs SET end_block = 5, transition_block = 6", "no value out of range"),
    ],
)
def test_the_verification_finds_what_is_wrong(
    dsn: str, database: psycopg.Connection, wrong: str, offence: str
) -> None:
    keep_table_rows(database)
    database.execute(sql.SQL(wrong))
    assert offence in offended(dsn)


def test_the_old_view_is_compared_column_by_column(old: str) -> None:
    migrations.migrate(old)
    with psycopg.connect(old, autocommit=True) as connection:
        refresh(connection)
        found = verified(old)["old view against new view"]
        compared = {name: counts for name, *counts, _ in found}
        reasons = {name: reason for name, *_, reason in found}
        assert compared["total_stake_raw"] == [302, 300, 2]
        assert compared["total_stake_tokens"] == [302, 0, 302]  # the old view rounded
        assert compared["network_share_price_ratio"] == [302, 0, 302]
        assert str(reasons["network_share_price_ratio"]).startswith("unknown is NULL now")
        assert "the old view divided" in str(reasons["total_stake_tokens"])
        assert reasons["epoch"] is None
        unexplained = "no difference to the old view without a reason"
        assert verified(old)[unexplained] == []

        connection.execute("UPDATE epoch_analytics SET total_stake_raw = 6 WHERE epoch = 4")
        assert [row[:2] for row in verified(old)[unexplained]] == [
            ("total_stake_raw", 4),
            ("total_stake_tokens", 4),
        ]


def test_the_verification_runs_in_psql(dsn: str, database: psycopg.Connection) -> None:
    keep_table_rows(database)
    psql = [str(programs.binaries() / "psql"), dsn, "-v", "ON_ERROR_STOP=1", "-qf"]
    ran = subprocess.run(
        [*psql, objects.SQL / "05_verify_migration.sql"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert " no gap " in ran.stdout
