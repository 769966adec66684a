"""Whole imports, from a source to the tables."""

import csv
import json
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operator_prices import store
from operator_prices.cli.console import Console
from operator_prices.definitions import defs
from operator_prices.defs.parity_checks import PARITY
from operator_prices.epochs import normalized, tables
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.legacy.end_hashes import compare_imported, differing
from operator_prices.legacy.exporting import ExportError, export
from operator_prices.legacy.importing import (
    OtherDomainError,
    import_window,
    in_quarantine,
    left_out,
    quarantine_misplaced,
)
from operator_prices.legacy.read_paths import compare
from operator_prices.legacy.snapshots import Row
from operator_prices.legacy.sources import UnusableSourceError, opened
from operator_prices.runs.backfill import Backfilled
from operator_prices.runs.legacy import SOURCE_VARIABLE, ImportedSource, import_source
from operator_prices.runs.windows import RunFailedError, import_windows
from operator_prices.settings import Settings
from operator_prices.store import migrations
from operator_prices.store.parity import verify
from operator_prices_tests.support.legacy_samples import (
    SHARED,
    document,
    end_hash,
    history,
    needs_shared,
    operator_entry,
    operator_value,
    price_entry,
    price_of,
    row,
    write_sqlite,
)

Rows = list[tuple[object, ...]]
Import = Callable[..., dict[str, int]]

PRICES = (
    "SELECT epoch, operator_id, share_price_perq, source FROM operator_share_prices"
    " ORDER BY epoch, operator_id"
)
SHARES = (
    "SELECT epoch, operator_id, shares_raw, stake_raw, active_stake_raw, reward_raw,"
    " storage_fee_deposit_raw, nomination_tax, status, source FROM operator_shares"
    " ORDER BY epoch, operator_id"
)
EPOCHS = (
    "SELECT epoch, end_block, end_hash, timestamp, data, source, complete FROM epochs ORDER BY 1"
)
ANALYTICS = "SELECT * FROM comprehensive_analytics ORDER BY epoch"
OPERATORS = (
    "SELECT operator_id, first_seen_epoch, last_seen_epoch, signing_key, nomination_tax, status"
    " FROM operators_metadata ORDER BY 1"
)
PUBLISHED = (PRICES, SHARES, ANALYTICS, OPERATORS)

OLD_TABLE = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp BIGINT NOT NULL,
  data JSONB NOT NULL,
  created_at TIMESTAMPTZ DEFAULT now()
);
CREATE VIEW comprehensive_analytics AS
  SELECT epoch, timestamp, (data ->> 'totalShares')::numeric AS total_shares_raw FROM epochs;
"""


@pytest.fixture
def environment(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The database that runs of the job use, as the environment names it."""
    for name, value in {
        "DATABASE_URL": dsn,
        "ARCHIVE_NODE_URL": "ws://127.0.0.1:1",
        "DOMAIN_ID": "0",
        "DATA_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SOURCE_VARIABLE, "")  # so that what an import puts there goes again
    return dsn


@pytest.fixture
def imported(environment: str, instance: dg.DagsterInstance) -> Import:
    """Imports all windows of a source by runs of the job, and adds up what they say."""

    def run(source: Path | str = "", *, domain_id: int = 0, **config: bool) -> dict[str, int]:
        with (
            psycopg.connect(environment, autocommit=True) as connection,
            opened(str(source), connection) as place,
        ):
            windows = place.windows()
            quarantine_misplaced(connection, place)
        total: dict[str, int] = {}
        told = {"source": str(source), "domain_id": domain_id, **config}
        for _, said in import_windows(instance, windows, told):
            for name, number in said.items():
                if isinstance(number, int):
                    total[name] = total.get(name, 0) + number
        return total

    return run


@pytest.fixture
def old(dsn: str) -> str:
    """A migrated database that the old system had filled before."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_TABLE)
        keep_old(connection, history(230))
    migrations.migrate(dsn)
    return dsn


def keep_old(connection: psycopg.Connection, snapshots: Sequence[Row]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (%s, %s, %s, %s, %s)",
            snapshots,
        )


def rows(place: psycopg.Connection | str, query: str) -> Rows:
    if isinstance(place, str):
        with psycopg.connect(place) as connection:
            return connection.execute(query).fetchall()
    return place.execute(query).fetchall()


def prices(place: psycopg.Connection | str, *epochs: int) -> Rows:
    """Price and source of each operator of the epochs."""
    return [told[2:] for told in rows(place, PRICES) if told[0] in epochs]


def published(place: psycopg.Connection | str) -> list[Rows]:
    return [rows(place, query) for query in PUBLISHED]


def expected(name: str) -> list[tuple[str, ...]]:
    with (SHARED / name).open(newline="") as lines:
        return sorted(map(tuple, csv.reader(lines)))[:-1]


def as_text(found: Rows) -> list[tuple[str, ...]]:
    return sorted(tuple(map(str, told)) for told in found)


def parse(connection: psycopg.Connection, window: EpochWindow) -> None:
    """From the raw epochs of the window to all tables, as the assets do."""
    raw = store.read(connection, tables.EPOCHS, window)
    store.write(connection, tables.OPERATOR_SHARE_PRICES, normalized.operator_share_prices(raw))
    store.write(connection, tables.OPERATOR_SHARES, normalized.operator_shares(raw))
    store.merge_operators(connection, normalized.operators_metadata(raw))
    store.refresh_analytics(connection, window)


def forget_all(connection: psycopg.Connection) -> None:
    connection.execute(
        "TRUNCATE epochs, operator_share_prices, operator_shares, operators_metadata,"
        " epoch_analytics, normalized_epochs, legacy_prices, legacy_windows, legacy_hashes,"
        " legacy_foreign, quarantine, chain_identity"
    )


def failed(connection: psycopg.Connection) -> dict[str, Sequence[tuple[object, ...]]]:
    return {finding.name: finding.rows for finding in verify(connection) if not finding.passed}


@needs_shared
@pytest.mark.parametrize("keep_raw", [False, True])
def test_the_file_of_the_old_script_gives_the_true_rows(
    database: psycopg.Connection, imported: Import, *, keep_raw: bool
) -> None:
    imported(SHARED / "comprehensive-metrics.db", keep_raw=keep_raw)
    told = rows(
        database,
        "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
        " WHERE source = 'epochs_json'",
    )
    assert as_text(told) == expected("expected_prices.csv")
    told = rows(
        database,
        "SELECT epoch, operator_id, shares_raw, stake_raw, nomination_tax, reward_raw, status"
        " FROM operator_shares",
    )
    assert as_text(told) == expected("expected_shares.csv")
    told = rows(
        database,
        "SELECT epoch, view.end_block, end_hash, total_stake_raw, total_shares_raw, operator_count"
        " FROM comprehensive_analytics AS view JOIN epochs USING (epoch)",
    )
    assert as_text(told) == expected("expected_metrics.csv")
    assert failed(database) == {}


def test_history_that_every_snapshot_repeats_becomes_one_row_each(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(230))
    before = file.read_bytes()
    said = imported(file)
    assert said["epochs"] == 230
    assert [told for told in rows(database, PRICES) if told[3] == "epochs_json"] == [
        (epoch, operator, price_of(epoch, operator), "epochs_json")
        for epoch in range(229)
        for operator in range(2)
    ]
    assert [source for _, source in prices(database, 229)] == ["derived"] * 2
    assert failed(database) == {}
    assert file.read_bytes() == before


def test_a_postgres_source_gives_the_same_rows_and_is_only_read(
    database: psycopg.Connection,
    imported: Import,
    server: str,
    tmp_path: Path,
) -> None:
    snapshots = history(130)
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    first = published(database)
    name = sql.Identifier(f"source_{id(imported)}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
    try:
        url = make_conninfo(server, dbname=f"source_{id(imported)}")
        with psycopg.connect(url) as source:
            source.execute(OLD_TABLE.replace("INTEGER", "NUMERIC").replace("BIGINT", "NUMERIC"))
            keep_old(source, snapshots)
        before = rows(url, "SELECT xmin::text, * FROM epochs ORDER BY epoch")
        known = psycopg.conninfo.conninfo_to_dict(url)
        place = f"postgresql://{known['user']}@/{known['dbname']}?host={known['host']}"
        said = imported(place)
        assert said["epochs"] == 130
        assert said["changed_prices"] == 0
        assert published(database) == first
        assert rows(url, "SELECT xmin::text, * FROM epochs ORDER BY epoch") == before
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_a_source_that_is_none_is_refused_in_one_sentence(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("no SQLite at all, but long enough to look like a header")
    sqlite3.connect(tmp_path / "empty.db").close()
    for place, fact in (
        (str(tmp_path / "missing.db"), "is no file"),
        (str(tmp_path / "text.db"), "cannot be read as SQLite"),
        (str(tmp_path / "empty.db"), "has no table epochs"),
        ("postgresql://nobody@127.0.0.1:1/none", "does not answer"),
        ("postgresql://me:%zz@db.example/old", "is no URL that Postgres understands"),
        ("postgresql://db.example/old?nothing=5", "is no URL that Postgres understands"),
    ):
        with pytest.raises(UnusableSourceError, match=fact), opened(place, database):
            pass


def test_a_price_whose_own_epoch_has_no_row_is_kept_all_the_same(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    snapshots = [told for told in history(110) if told.epoch not in {7, 99}]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    for epoch in (7, 98, 99, 108):
        assert prices(database, epoch) == [
            (price_of(epoch, operator), "epochs_json") for operator in range(2)
        ]
    assert rows(database, "SELECT FROM epochs WHERE epoch IN (7, 99)") == []


def test_importing_again_passes_over_what_is_done_and_changes_nothing(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(130))
    imported(file)
    first = [rows(database, EPOCHS), *published(database)]
    said = imported(file)
    assert (said["already_done"], said["rows"], said["changed_rows"]) == (2, 0, 0)
    database.execute("TRUNCATE legacy_windows")
    said = imported(file)
    assert (said["already_done"], said["rows"], said["changed_rows"]) == (0, 130, 0)
    assert [rows(database, EPOCHS), *published(database)] == first


def test_a_source_that_has_grown_is_imported_from_where_it_grew(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "old.db", history(150)))
    assert [source for _, source in prices(database, 149)] == ["derived"] * 2
    (tmp_path / "old.db").unlink()
    said = imported(write_sqlite(tmp_path / "old.db", history(160)))
    assert said["already_done"] == 1
    assert [source for _, source in prices(database, 149)] == ["epochs_json"] * 2


def test_windows_in_any_order_give_the_same_rows(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    snapshots = [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(0)],
                prices=[
                    # a later snapshot corrects the price of epoch 10, and 150 tells it wrongly
                    price_entry(0, 10, {150: "nothing", 250: 77}.get(epoch, 55)),
                ],
            ),
        )
        for epoch in range(11, 260)
    ]
    file = write_sqlite(tmp_path / "old.db", snapshots)
    windows = list(between(11, 259))
    for order in ([2, 0, 1, 0], [0, 1, 2, 1], [1, 2, 0, 2]):
        database.execute(
            "TRUNCATE epochs, operator_share_prices, legacy_prices, legacy_windows, quarantine"
        )
        for index in order:
            import_window(database, str(file), windows[index], domain_id=0)
            database.execute("TRUNCATE legacy_windows")
        # 251 to 259 say 55 again, and the later snapshot wins
        assert prices(database, 10) == [(55, "epochs_json")]
        assert rows(database, "SELECT told_in FROM legacy_prices") == [(259,)]


def test_a_price_that_becomes_known_later_reaches_the_epoch_it_is_of(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    snapshots = [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(0)],
                prices=[price_entry(0, 50, 123)] if epoch > 210 else [],
            ),
        )
        for epoch in range(220)
    ]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    assert prices(database, 50) == [(123, "epochs_json")]
    assert rows(
        database, "SELECT data -> 'operatorEpochSharePrice' FROM epochs WHERE epoch = 50"
    ) == [({"entries": [{"key": ["0", "[0,50]"], "value": "123"}]},)]
    assert rows(
        database,
        "SELECT operator_share_prices_json FROM comprehensive_analytics WHERE epoch = 50",
    ) == [({"0": "123"},)]
    assert failed(database) == {}


def test_what_was_read_from_the_chain_stands_whatever_the_order(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    for statement in (
        (
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data, domain_id, source,"
            " complete) VALUES (3, 1, '0xchain', 5, '"
            '{"operators": {"entries": [{"key": ["0"], "value": {"currentTotalShares": "9"}}]},'
            ' "operatorEpochSharePrice": {"entries": [{"key": ["0", "[0,3]"], "value": "5"}]}}'
            "', 0, 'chain', true)"
        ),
        "INSERT INTO operator_share_prices VALUES (3, 0, 5, 'chain'), (4, 0, 6, 'derived')",
        (
            "INSERT INTO operator_shares (epoch, operator_id, shares_raw, source)"
            " VALUES (3, 0, 9, 'chain')"
        ),
    ):
        database.execute(statement.encode())
    imported(write_sqlite(tmp_path / "old.db", history(10)))
    assert rows(database, "SELECT end_hash, source FROM epochs WHERE epoch = 3") == [
        ("0xchain", "chain")
    ]
    assert prices(database, 3)[0] == (5, "chain")
    assert prices(database, 4)[0] == (price_of(4, 0), "epochs_json")
    assert rows(database, "SELECT shares_raw FROM operator_shares WHERE epoch = 3") == [(9,)]


class Ledger:
    """Block hashes of a chain, where block 105 is another one than the snapshot says."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        self.asked.append(list(blocks))
        return [
            None if block == 108 else end_hash(block - 100) if block != 105 else "0xother"
            for block in blocks
        ]


def test_end_hashes_of_imported_epochs_are_compared_with_the_chain_once(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(10))
    import_window(database, str(file), EpochWindow(0), domain_id=0)
    ledger: Any = Ledger()
    assert compare_imported(database, ledger, until=100) == (10, 2)
    assert compare_imported(database, ledger, until=100) == (0, 0)
    assert len(ledger.asked) == 1
    assert rows(
        database,
        "SELECT epoch, chain_hash FROM legacy_hashes WHERE end_hash IS DISTINCT FROM chain_hash",
    ) == [(5, "0xother"), (8, None)]
    assert differing(database, 0, 100) == [5, 8]
    assert differing(database, 6, 100) == [8]


def test_a_hash_is_the_same_however_its_letters_are_written(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    snapshots = [row(epoch)._replace(end_hash=f"0x{10**40 + epoch:064X}") for epoch in range(3)]
    file = write_sqlite(tmp_path / "old.db", snapshots)
    import_window(database, str(file), EpochWindow(0), domain_id=0)

    class Lower:
        def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
            return [f"0x{10**40 + block - 100:064x}" for block in blocks]

    ledger: Any = Lower()
    assert compare_imported(database, ledger, until=100) == (3, 0)
    assert differing(database, 0, 100) == []


@pytest.mark.parametrize("keep_raw", [False, True])
def test_import_and_chain_give_the_same_tables_in_either_order(
    database: psycopg.Connection, imported: Import, tmp_path: Path, *, keep_raw: bool
) -> None:
    """Also where a snapshot is of another block than the chain's, of which it then says nothing."""
    snapshots = history(110)
    operators = [operator_entry(operator) for operator in (0, 1, 9)]  # 9 is of another block alone
    snapshots[2] = row(2, document(2, operators=operators))
    file = write_sqlite(tmp_path / "old.db", snapshots)
    imported(file)
    told = store.read(database, tables.EPOCHS, EpochWindow(0))[2:4]
    stated = [json.loads(data) for data in told["data"]]
    for one in stated:
        one["operatorEpochSharePrice"] = {"entries": []}
        one["deposits"] = one["withdrawals"] = one["successfulBundles"] = {"count": None}
    stated[0]["operators"]["entries"].pop()
    chain = told.with_columns(
        source=told["source"].replace("legacy", "chain"),
        end_hash=pl.Series([f"0x{'cd' * 32}", told["end_hash"][1]]),
        data=pl.Series([json.dumps(one) for one in stated]),
    )
    forget_all(database)

    def read_from_chain() -> None:
        nothing = chain.clear()
        store.keep_epochs(
            database,
            chain,
            nothing.select("epoch").with_columns(operator_id=None),
            nothing.select("epoch"),
            genesis_hash="0x",
            domain_id=0,
        )
        parse(database, EpochWindow(0))

    imported(file, keep_raw=keep_raw)
    read_from_chain()
    first = published(database)
    assert prices(database, 2) == [(500_000_000_000_000_000, "derived")] * 2
    assert prices(database, 3) == [(price_of(3, operator), "epochs_json") for operator in range(2)]
    counts = (
        "SELECT epoch, deposits_count FROM comprehensive_analytics WHERE epoch IN (2, 3) ORDER BY 1"
    )
    assert rows(database, counts) == [(2, None), (3, 3)]
    assert list(compare(database, 0, 109)) == []
    assert failed(database) == {}

    database.execute("TRUNCATE legacy_windows")
    imported(file, keep_raw=keep_raw)
    assert published(database) == first

    forget_all(database)
    read_from_chain()
    imported(file, keep_raw=keep_raw)
    assert published(database) == first
    assert list(compare(database, 0, 109)) == []
    assert failed(database) == {}


def test_the_role_of_the_api_may_read_what_snapshots_told(database: psycopg.Connection) -> None:
    for table in ("legacy_prices", "legacy_hashes"):
        query = "SELECT has_table_privilege('operator_prices_reader', %s, 'SELECT')"
        assert database.execute(query, [table]).fetchone() == (True,)


def test_an_imported_epoch_that_ended_elsewhere_takes_its_parsed_rows_with_it(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "old.db", history(5)))
    frame = store.read(database, tables.EPOCHS, EpochWindow(0))[2:3]
    chain = frame.with_columns(end_hash=frame["end_hash"] + "0", source=frame["source"])
    chain = chain.with_columns(source=chain["source"].replace("legacy", "chain"))
    empty = chain.clear()
    store.keep_epochs(
        database,
        chain,
        empty.select("epoch").with_columns(operator_id=None),
        empty.select("epoch"),
        genesis_hash="0x",
        domain_id=0,
    )
    assert rows(database, "SELECT FROM operator_shares WHERE epoch = 2") == []
    assert rows(database, "SELECT FROM operator_share_prices WHERE epoch = 2") == []
    assert len(rows(database, "SELECT FROM operator_shares WHERE epoch = 3")) == 2


def test_a_database_of_another_domain_is_refused(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    database.execute("INSERT INTO chain_identity VALUES ('0xabc', 3)")
    file = write_sqlite(tmp_path / "old.db", history(2))
    with pytest.raises(OtherDomainError, match="domain 3"):
        import_window(database, str(file), EpochWindow(0), domain_id=0)


def broken(kind: int, told: Row) -> tuple[Row, str]:
    """The row with something wrong in it, and the path where that is."""
    data = json.loads(str(told.data))
    entries = data["operators"]["entries"]
    prices = data["operatorEpochSharePrice"]["entries"]
    key, _, _ = entries[1]["value"].partition(",")
    past = told.epoch - 1

    def operator(**changes: object) -> None:
        entries[1] = {"key": ["1"], "value": f"{key},{json.dumps(operator_value(**changes))}"}

    match kind:
        case 0:
            return told._replace(data=str(told.data)[:-30]), "data"
        case 1:
            del data["domainStakingSummary"]
            path = "data.domainStakingSummary"
        case 2:
            operator(currentTotalStake="a lot")
            path = "data.operators.entries[1].value.currentTotalStake"
        case 3:
            entries[1] = {"key": ["1"], "value": json.dumps(operator_value())}
            path = "data.operators.entries[1].value"
        case 4:
            prices[-1] = price_entry(1, past, 10**18 + 1)
            path = f"data.operatorEpochSharePrice.entries[{len(prices) - 1}].value"
        case 5:
            prices[-1] = price_entry(1, past, 0)
            path = f"data.operatorEpochSharePrice.entries[{len(prices) - 1}].value"
        case _:
            operator(currentTotalStake=1, currentTotalShares=2)
            path = "data.operators.entries[1].value.currentTotalShares"
    return told._replace(data=json.dumps(data)), path


def own_prices(epochs: int) -> list[Row]:
    """Snapshots that tell the prices of the epoch before, and no others."""
    return [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(operator, operator) for operator in range(2)],
                prices=[
                    price_entry(operator, epoch - 1, price_of(epoch - 1, operator))
                    for operator in range(2)
                ]
                if epoch
                else [],
            ),
        )
        for epoch in range(epochs)
    ]


def test_of_a_source_with_broken_rows_the_rest_is_imported_exactly_and_each_is_named(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    whole = own_prices(700)
    imported(write_sqlite(tmp_path / "whole.db", whole))
    true_prices, true_shares = rows(database, PRICES), rows(database, SHARES)
    database.execute(
        "TRUNCATE epochs, operator_share_prices, operator_shares, operators_metadata,"
        " epoch_analytics, legacy_prices, legacy_windows, quarantine"
    )

    spoilt = sorted(random.Random(4).sample(range(2, 699, 2), 7))  # noqa: S311
    paths = {}
    snapshots = list(whole)
    for kind, epoch in enumerate(spoilt):
        snapshots[epoch], paths[epoch] = broken(kind, whole[epoch])
    said = imported(write_sqlite(tmp_path / "broken.db", snapshots))

    assert (
        dict(
            database.execute(
                "SELECT epoch, path FROM quarantine WHERE source = 'legacy'"
            ).fetchall()
        )
        == paths
    )
    assert rows(database, "SELECT FROM quarantine WHERE reason = '' OR raw IS NULL") == []
    assert said["quarantined"] == 7
    by_kind = dict(enumerate(spoilt))
    lost_shares = {(by_kind[0], 0), (by_kind[0], 1)} | {(by_kind[kind], 1) for kind in (2, 3, 6)}
    unknown_stakes = by_kind[1]
    got = rows(database, SHARES)
    assert [told for told in got if told[0] != unknown_stakes] == [
        told for told in true_shares if told[:2] not in lost_shares and told[0] != unknown_stakes
    ]
    assert [told[4:6] for told in got if told[0] == unknown_stakes] == [(None, None)] * 2
    lost_prices = {(by_kind[0] - 1, 0), (by_kind[0] - 1, 1)}  # the broken row told them: derived
    withheld = {(by_kind[kind] - 1, 1) for kind in (4, 5)}
    got_prices = rows(database, PRICES)
    assert [told for told in got_prices if told[:2] not in lost_prices] == [
        told for told in true_prices if told[:2] not in lost_prices | withheld
    ]
    assert {told[3] for told in got_prices if told[:2] in lost_prices} == {"derived"}
    assert not [told for told in got_prices if told[2] == 0]
    findings = failed(database)
    assert [told[0] for told in findings.pop("no gap")] == [by_kind[0]]
    assert {told[0] for told in findings.pop("no incomplete epoch")} == (
        set(spoilt[1:]) - {by_kind[4], by_kind[5]} | {by_kind[4] - 1, by_kind[5] - 1}
    )
    assert findings == {}
    reasons = in_quarantine(database, 0, 700)
    assert sum(count for _, _, count, _ in reasons) == 7


def test_of_a_source_only_windows_with_rows_are_run_and_what_is_no_epoch_is_named(
    database: psycopg.Connection, imported: Import, tmp_path: Path, dsn: str
) -> None:
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE epochs (epoch, end_block, end_hash, timestamp, data)")
        told = [row(epoch) for epoch in (0, 60_000)]
        told += [row(0)._replace(epoch=epoch) for epoch in (-1, 3_000_000_000, "x", 1.5, None)]  # type: ignore[arg-type]
        connection.executemany("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", told)
    connection.close()
    settings = Settings(data_dir=tmp_path, database_url=dsn)
    for _ in range(2):
        done = import_source(
            settings, str(file), keep_raw=False, reduce=False, progress=Console().import_progress
        )
        assert (done.windows, done.epochs + done.windows_done_before) == (2, 2)
        assert done.quarantined == 5
        assert rows(
            database, "SELECT epoch, path, raw, reason FROM quarantine ORDER BY reason, raw"
        ) == [
            (None, "epoch", "null", "is missing"),
            (-1, "epoch", "-1", "is negative"),
            (None, "epoch", "1.5", "is no number"),
            (None, "epoch", "x", "is no number"),
            (3_000_000_000, "epoch", "3000000000", "is too large"),
        ]
    assert imported(file)["already_done"] == 2


def test_an_epoch_that_is_hardly_true_costs_no_more_than_another(
    database: psycopg.Connection, imported: Import, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "old.db", [row(0), row(2**31 - 1, end_block=5)]))
    assert rows(database, "SELECT epoch FROM epochs ORDER BY 1") == [(0,), (2**31 - 1,)]
    assert len(instance.get_dynamic_partitions("epoch_windows")) == 2


def test_what_is_of_other_domains_is_counted_once_over_all_windows(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    told = document(
        0,
        operators=[operator_entry(0), operator_entry(7, currentDomainId=1)],
        prices=[price_entry(operator, 0, 5, domain=1) for operator in (7, 8)],
    )
    snapshots = [row(epoch, told | {"epoch": epoch}) for epoch in (0, 1, 100, 101, 200)]
    assert imported(write_sqlite(tmp_path / "old.db", snapshots))["foreign"] == 3
    assert left_out(database) == 3
    assert failed(database).keys() == {"no gap"}


@pytest.mark.parametrize("keep_raw", [False, True])
def test_of_two_rows_of_one_epoch_the_first_is_kept(
    database: psycopg.Connection, imported: Import, tmp_path: Path, *, keep_raw: bool
) -> None:
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE epochs (epoch, end_block, end_hash, timestamp, data)")
        told = [row(0), row(0, document(0, note="second")), row(1)]
        connection.executemany("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", told)
    connection.close()
    assert imported(file, keep_raw=keep_raw)["epochs"] == 2
    assert rows(database, "SELECT epoch, data ? 'note' FROM epochs ORDER BY 1") == [
        (0, False),
        (1, False),
    ]
    assert in_quarantine(database, 0, 9) == [("epochs", "is there a second time", 1, 0)]


@pytest.mark.usefixtures("database")
def test_a_source_whose_data_was_changed_alone_is_imported_again(
    imported: Import, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(3))
    imported(file)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE epochs SET data = replace(data, '}', ' }') WHERE epoch = 1")
    connection.close()
    assert imported(file)["already_done"] == 0


def test_prices_do_not_depend_on_where_a_broken_row_stands(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    for last in (50, 100):
        snapshots = [
            row(epoch, document(epoch, operators=[operator_entry(0)]))
            for epoch in (last - 2, last - 1)
        ]
        told = row(last, document(last, prices=[price_entry(0, last - 1, 7)]))
        file = write_sqlite(tmp_path / f"{last}.db", [*snapshots, told._replace(end_hash="0x12")])
        imported(file)
        assert prices(database, last - 1) == [(7, "epochs_json")]


def test_what_is_in_quarantine_of_rows_left_as_they_were_is_no_difference(
    old: str, imported: Import
) -> None:
    summary = {"currentTotalStake": "5", "currentOperators": {"1,000": "4"}}
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute("TRUNCATE epochs")
        keep_old(
            connection,
            [
                row(-1),
                row(0, document(0, operators=[operator_entry(0)])),
                row(1, document(1, operators=[operator_entry(0)]), end_hash="0x12"),
                row(2, document(7, prices=[price_entry(0, 1, 9)])),
                row(
                    3,
                    document(
                        3,
                        domainStakingSummary=summary,
                        operators=[
                            operator_entry(1000),
                            operator_entry(1, currentDomainId=1),
                            operator_entry(2, signingKey="0x12"),
                            operator_entry(3, minimumNominatorStake="none"),
                            operator_entry(2**40),
                            {"key": ["4"], "value": operator_entry(4)["value"][:-1]},  # type: ignore[index]
                        ],
                        prices=[
                            price_entry(1000, 0, 6),
                            price_entry(1000, 0, 5),
                            price_entry(1000, 9, 5),
                            {"key": ["0", "[0,99999999999]"], "value": "5"},
                            {"key": ["0", "x"], "value": "5"},
                        ],
                    ),
                ),
            ],
        )
        imported()
        assert failed(connection).keys() == {"no incomplete epoch"}
        assert prices(connection, 0)[-1] == (5, "epochs_json")
        assert list(compare(connection, 0, 9)) == []
        shares = "SELECT active_stake_raw, reward_raw FROM operator_shares WHERE epoch = 3"
        assert rows(connection, shares) == [(4, None)]


def test_the_password_of_a_source_is_nowhere_in_what_dagster_keeps(
    database: psycopg.Connection, environment: str, tmp_path: Path
) -> None:
    with psycopg.connect(environment, autocommit=True) as connection:
        keep_old(connection, history(3))
    database.execute("INSERT INTO chain_identity VALUES ('0xabc', 3)")  # so that the run fails
    known = psycopg.conninfo.conninfo_to_dict(environment)
    place = f"postgresql://{known['user']}:sesame@/{known['dbname']}?host={known['host']}"
    with pytest.raises(RunFailedError, match="domain 3"):
        import_source(
            Settings(data_dir=tmp_path, database_url=environment),
            place,
            keep_raw=False,
            reduce=False,
            progress=Console().import_progress,
        )
    (runs,) = rows(
        environment, "SELECT count(*) FROM dagster.runs WHERE run_body LIKE '%LEGACY_SOURCE%'"
    )
    assert runs == (1,)
    for table in ("runs", "event_logs"):
        query = sql.SQL("SELECT FROM dagster.{} AS one WHERE one::text LIKE '%sesame%'")
        assert database.execute(query.format(sql.Identifier(table))).fetchall() == []


def test_a_source_without_rows_is_said_to_have_none_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console().imported(ImportedSource("/srv/old.db"))
    assert capsys.readouterr().out == "/srv/old.db has no rows to import.\n"


def test_a_backfill_says_which_imported_epochs_ended_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console().backfilled(Backfilled(differing=[5, 8]))
    assert "another block than their snapshot says: 2, 5, 8" in capsys.readouterr().out


def test_in_place_the_rows_are_normalized_and_stay_as_they_were(old: str, imported: Import) -> None:
    before = rows(old, "SELECT xmin::text, ctid::text, * FROM epochs ORDER BY epoch")
    said = imported()
    assert said["epochs"] == 230
    assert rows(old, "SELECT xmin::text, ctid::text, * FROM epochs ORDER BY epoch") == before
    with psycopg.connect(old) as connection:
        assert failed(connection) == {}
        assert len(rows(connection, PRICES)) == 460
        assert rows(connection, "SELECT count(*) FROM epochs_original") == [(0,)]


def test_an_import_from_elsewhere_and_one_in_place_publish_the_same(
    old: str, imported: Import, tmp_path: Path
) -> None:
    imported()
    first = published(old)
    imported(reduce=True)
    assert published(old) == first
    assert rows(old, "SELECT count(*) FROM normalized_epochs") == [(0,)]
    assert rows(old, "SELECT DISTINCT source FROM epochs") == [("legacy",)]
    with psycopg.connect(old) as connection:
        assert failed(connection) == {}
    imported(write_sqlite(tmp_path / "old.db", history(230)))
    assert published(old) == first


@pytest.mark.parametrize("reduce", [False, True])
def test_after_a_rollback_the_old_database_answers_as_before(
    dsn: str, imported: Import, tmp_path: Path, *, reduce: bool
) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_TABLE)
        keep_old(connection, history(120))
    answers = ("SELECT * FROM epochs ORDER BY epoch", ANALYTICS)
    before = [rows(dsn, query) for query in answers]
    for _ in range(2):
        migrations.migrate(dsn)
        imported(reduce=reduce)
        imported(write_sqlite(tmp_path / "more.db", history(140)))
        assert len(rows(dsn, "SELECT FROM epochs")) == 140
        (tmp_path / "more.db").unlink()
        migrations.rollback(dsn)
        assert [rows(dsn, query) for query in answers] == before


def test_a_row_of_the_old_system_that_is_not_imported_yet_is_no_ones_business(
    old: str, imported: Import
) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        assert store.read(connection, tables.EPOCHS, EpochWindow(0)).is_empty()
        imported()
        keep_old(connection, history(231)[230:])
        assert store.read(connection, tables.EPOCHS, EpochWindow(200)).height == 30
        imported()
        assert store.read(connection, tables.EPOCHS, EpochWindow(200)).height == 31
        assert [source for _, source in prices(connection, 229)] == ["epochs_json"] * 2


def test_an_export_imported_again_gives_the_same_rows(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    snapshots = [told for told in history(110) if told.epoch not in {7, 99}]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    first = [rows(database, EPOCHS), *published(database)]
    assert export(database, tmp_path / "out.db") == 108
    database.execute(
        "TRUNCATE epochs, operator_share_prices, operator_shares, operators_metadata,"
        " epoch_analytics, legacy_prices, legacy_windows"
    )
    imported(tmp_path / "out.db")
    assert [rows(database, EPOCHS), *published(database)] == first


def test_an_export_never_replaces_a_file(database: psycopg.Connection, tmp_path: Path) -> None:
    (tmp_path / "out.db").write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        export(database, tmp_path / "out.db")
    assert (tmp_path / "out.db").read_text() == "mine"


def test_parity_is_a_check_of_its_own_that_the_ui_can_launch(
    database: psycopg.Connection,
    imported: Import,
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> None:
    imported(write_sqlite(tmp_path / "old.db", history(20)))
    database.execute(
        "UPDATE operator_shares SET shares_raw = 7 WHERE (epoch, operator_id) = (3, 1)"
    )
    job = defs.resolve_job_def("verify_parity")
    result = job.execute_in_process(instance=instance)
    found = {told.check_name: told.passed for told in result.get_asset_check_evaluations()}
    assert found.keys() == PARITY.keys()
    assert {name for name, passed in found.items() if not passed} == {
        "operators_as_in_raw_json",
        "analytics_fresh",
    }


def test_the_import_job_shows_its_lineage() -> None:
    graph = defs.resolve_asset_graph()
    children = graph.get(dg.AssetKey("legacy_epochs")).child_keys
    assert {key.to_user_string() for key in children} >= {
        "operator_share_prices",
        "operator_shares",
        "operators_metadata",
    }
