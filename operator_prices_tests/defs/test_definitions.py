"""The graph, spelled out by hand: a new asset is meant to cost a line here."""

import subprocess
import sys

import dagster as dg
import psycopg

from operator_prices.definitions import defs
from operator_prices.defs.catalog import COLUMNS, TABLE_OF_ASSET
from operator_prices.defs.parity_checks import PARITY
from operator_prices.settings import PROJECT

# asset: (what it reads, its group)
GRAPH = {
    "legacy_epochs": ((), "raw"),
    "raw_epochs": ((), "raw"),
    "raw_nominators": (("raw_epochs",), "raw"),
    "operator_share_prices": (("legacy_epochs", "raw_epochs"), "parsed"),
    "operator_shares": (("legacy_epochs", "raw_epochs"), "parsed"),
    "operators_metadata": (("legacy_epochs", "raw_epochs"), "parsed"),
    "nominator_positions": (
        ("operator_share_prices", "operator_shares", "operators_metadata", "raw_nominators"),
        "parsed",
    ),
    "comprehensive_analytics": (
        ("operator_share_prices", "operator_shares", "raw_epochs"),
        "serving",
    ),
}

CHECKS = {
    "legacy_epochs": set(PARITY),
    "raw_epochs": {
        *("no_gaps", "blocks_in_order", "operators_once", "active_stakes_add_up"),
        *("quarantine_empty", "on_the_chain"),
    },
    "operator_share_prices": {
        *("price_is_a_price", "price_not_above_recomputed", "price_as_recomputed"),
        "prices_as_in_raw",
    },
    "operator_shares": {
        *("shares_at_most_stake", "shares_as_in_raw", "stake_per_share_never_falls"),
    },
    "operators_metadata": {"metadata_complete"},
    "raw_nominators": {"nominators_understood", "nominators_as_listed"},
    "nominator_positions": {
        *("shares_add_up", "storage_fees_add_up", "values_within_stake", "pending_has_no_price"),
    },
    "comprehensive_analytics": {"rows_as_epochs", "up_to_date"},
}

JOBS = {"ingest_epochs", "import_legacy", "verify_parity", "delete_old_runs"}

RUNNING = {
    *("completed_epochs", "failed_runs", "succeeded_runs", "alert_webhook", "lost_runs"),
    *("daily_verification", "hourly_freshness", "daily_cleanup", "weekly_parity"),
}
"""Sensors and schedules, all of them on by default."""


def test_the_graph() -> None:
    nodes = defs.resolve_asset_graph().asset_nodes
    assert {
        node.key.to_user_string(): (
            tuple(sorted(parent.to_user_string() for parent in node.parent_keys)),
            node.group_name,
        )
        for node in nodes
    } == GRAPH
    assert all(node.is_partitioned for node in nodes)


def test_the_checks() -> None:
    found: dict[str, set[str]] = {}
    for key in defs.resolve_asset_graph().asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert found == CHECKS


def test_what_runs_by_itself_is_on_by_default() -> None:
    started: list[dg.SensorDefinition | dg.ScheduleDefinition] = [
        *(one for one in defs.sensors or () if isinstance(one, dg.SensorDefinition)),
        *(one for one in defs.schedules or () if isinstance(one, dg.ScheduleDefinition)),
    ]
    assert {one.name for one in started} == RUNNING
    assert all(one.default_status.value == "RUNNING" for one in started)


def test_everything_says_what_it_is() -> None:
    graph = defs.resolve_asset_graph()
    said = {node.key.to_user_string(): node.description for node in graph.asset_nodes}
    said |= {str(key): graph.get_check_spec(key).description for key in graph.asset_check_keys}
    said |= {name: defs.resolve_job_def(name).description for name in JOBS}
    said |= {one.name: one.description for one in defs.sensors or ()}
    for schedule in defs.schedules or ():
        assert isinstance(schedule, dg.ScheduleDefinition)
        said[schedule.name] = schedule.description
    assert not [name for name, description in said.items() if not description]


def test_every_asset_has_an_owner_and_kinds() -> None:
    for node in defs.resolve_asset_graph().asset_nodes:
        assert node.owners == ["team:operator-prices"], node.key
        assert node.kinds, node.key


def test_the_columns_shown_are_those_of_the_tables(database: psycopg.Connection) -> None:
    for asset, columns in COLUMNS.items():
        there = database.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s",
            [TABLE_OF_ASSET.get(asset, asset)],
        ).fetchall()
        shown = {one.name: one.type.partition("(")[0] for one in columns}
        assert shown == dict(there), asset
        assert all(one.description.endswith(".") for one in columns), asset


def test_the_lineage_of_columns_leads_to_columns_that_are_there() -> None:
    sources = {
        tuple(source.split("."))
        for columns in COLUMNS.values()
        for one in columns
        for source in one.sources
    }
    assert sources <= {(asset, one.name) for asset, columns in COLUMNS.items() for one in columns}


def test_definitions_load_without_any_environment() -> None:
    dg.Definitions.validate_loadable(defs)
    program = [sys.executable, "-c", "import operator_prices.definitions"]
    subprocess.run(program, env={}, cwd=PROJECT, check=True)


def test_chain_web_and_store_do_not_load_dagster() -> None:
    rooms = "operator_prices.chain, operator_prices.web.app, operator_prices.store"
    program = f"import {rooms}; import sys; assert 'dagster' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
