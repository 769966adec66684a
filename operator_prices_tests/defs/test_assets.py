from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.chain import Chain, DomainMissingError, NodeUnreachableError
from operator_prices.definitions import defs
from operator_prices.defs.partitions import begin_windows
from operator_prices.defs.window_assets import retried_if_it_may_pass
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import EpochWindow
from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.samples import reading, truth_of
from operator_prices_tests.support.windows_samples import (
    FIRST,
    SECOND,
    SMALL,
    WrongPrice,
    rows,
    run_windows,
    small_chain,
)

ASSETS = {
    "raw_epochs",
    "raw_nominators",
    "nominator_positions",
    "operator_share_prices",
    "operator_shares",
    "operators_metadata",
    "comprehensive_analytics",
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with small_chain(tmp_path_factory.mktemp("runtimes")) as chain:
        yield chain


def metadata_of(
    result: dg.ExecuteInProcessResult, name: str
) -> dict[tuple[str, str | None], object]:
    """What the materializations of each asset and window say under a name."""
    return {
        (event.asset_key.path[-1], event.partition): event.materialization.metadata[name].value
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None and name in event.materialization.metadata
    }


def test_one_run_brings_several_windows_and_says_of_each_what_it_did(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    result = run_windows(instance, database, chain, FIRST, SECOND)

    assert result.success
    assert rows(database, "comprehensive_analytics") == 112
    changed = metadata_of(result, "changed_rows")
    assert set(changed) == {(asset, key) for asset in ASSETS for key in (FIRST, SECOND)}
    assert changed["raw_epochs", FIRST] == 100
    assert changed["raw_epochs", SECOND] == 12
    assert metadata_of(result, "dagster/partition_row_count")["raw_epochs", SECOND] == 12
    requests = metadata_of(result, "rpc_requests")
    calls = metadata_of(result, "rpc_calls")
    asked, sent = calls["raw_epochs", FIRST], requests["raw_epochs", FIRST]
    assert isinstance(asked, int)
    assert isinstance(sent, int)
    assert asked > sent  # batches of nominators
    assert set(metadata_of(result, "seconds")) == set(changed)


def test_a_rerun_changes_no_row_and_reads_no_epoch(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST)
    again = run_windows(instance, database, chain, FIRST)

    assert set(metadata_of(again, "changed_rows").values()) == {0}
    nothing = {("raw_epochs", FIRST): 0, ("raw_nominators", FIRST): 0}
    assert metadata_of(again, "rpc_requests") == nothing


def test_parsing_again_does_not_read_the_chain(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST)
    kept = rows(database, "operator_shares")
    database.execute("DELETE FROM operator_shares")
    sent = chain.requests

    result = run_windows(
        instance, database, chain, FIRST, assets=["operator_shares", "operator_share_prices"]
    )

    assert result.success
    assert {
        event.asset_key.path[-1]
        for event in result.get_asset_materialization_events()
        if event.asset_key
    } == {
        "operator_shares",
        "operator_share_prices",
    }
    assert rows(database, "operator_shares") == kept
    assert chain.requests == sent


def test_raw_epochs_are_read_once_for_all_tables_of_operators(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    result = run_windows(instance, database, chain, FIRST)

    (together,) = {
        event.step_key
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None and event.asset_key.path[-1].startswith("operator")
    }
    assert together == "operator_tables"


def test_a_run_about_no_window_is_a_failure(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    result = run_windows(instance, database, chain, SECOND, FIRST)  # a reversed range is empty

    assert not result.success
    assert rows(database, "epochs") == 0


def test_partitions_that_are_no_windows_or_not_begun_fail_no_good_ones(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    begin_windows(instance, 199)
    future = "999900-999999"
    instance.add_dynamic_partitions("epoch_windows", ["000250", future])

    result = run_windows(instance, database, chain, FIRST, future)

    assert result.success
    assert rows(database, "comprehensive_analytics") == 112
    assert set(metadata_of(result, "changed_rows")) == {
        (asset, key) for asset in ASSETS for key in (FIRST, SECOND, future)
    }
    assert metadata_of(result, "dagster/partition_row_count")["raw_epochs", future] == 0
    assert not [one for one in result.get_asset_check_evaluations() if not one.passed]
    warnings = [
        (one.step_key, str(one.user_message))
        for one in instance.all_logs(result.run_id)
        if "Passed over '000250'" in one.user_message
    ]
    assert len({step for step, _ in warnings}) == len(warnings) > 0, "each step says it once"
    assert warnings[0][1].endswith("a window is 100 epochs, named like 000200-000299.")


def test_a_run_about_a_partition_alone_that_is_no_window_does_nothing(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    instance.add_dynamic_partitions("epoch_windows", ["000250"])
    result = run_windows(instance, database, chain, "000250")
    assert result.success
    assert rows(database, "epochs") == 0


def test_an_epoch_that_has_left_the_chain_is_read_again_when_a_run_verifies(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, SECOND)
    database.execute("UPDATE epochs SET end_hash = '0x' || repeat('ab', 32) WHERE epoch = 105")

    assert not run_windows(instance, database, chain, SECOND).success, "the check on_the_chain"
    result = run_windows(instance, database, chain, SECOND, verify=True)

    assert result.success
    assert metadata_of(result, "left_the_chain") == {("raw_epochs", SECOND): [105]}
    assert metadata_of(result, "epochs_read") == {("raw_epochs", SECOND): 1}


def test_after_an_upgrade_a_node_without_old_states_tells_the_prices_of_new_epochs(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain, tmp_path: Path
) -> None:
    """Epochs are stored without nominators, which nobody can read any more."""
    fill(chain, database, EpochWindow(100))
    end = next(told.end_block for told in truth_of(DevChain(SMALL)) if told.epoch == 106)
    for table in ("epochs", "operator_shares", "operator_share_prices", "epoch_analytics"):
        database.execute(f"DELETE FROM {table} WHERE epoch >= 108".encode())  # noqa: S608
    pruned = replace(SMALL, keep_states=DevChain(SMALL).head - end)
    with serving(pruned) as node, reading(node.url, tmp_path) as short:
        result = run_windows(instance, database, short, SECOND)

    failed = {one.step_key for one in result.all_events if one.is_step_failure}
    assert {str(one).split("[")[0] for one in failed} == {"raw_nominators"}
    served = database.execute(
        "SELECT min(epoch), count(DISTINCT epoch) FROM epoch_analytics"
        " JOIN operator_share_prices USING (epoch)"
    )
    assert served.fetchone() == (100, 12)
    known = database.execute("SELECT array_agg(epoch ORDER BY epoch) FROM nominator_epochs")
    assert known.fetchone() == ([108, 109, 110, 111],)


def test_what_cannot_be_true_is_refused_before_it_is_written_and_nothing_else_is(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, WrongPrice(chain), FIRST, assets=["raw_epochs"])
    database.execute(
        "UPDATE epochs SET data = jsonb_set(data, '{operatorEpochSharePrice,entries,0,value}',"
        " '\"1000000000000000001\"') WHERE epoch = 7"
    )

    tables = ["operator_share_prices", "operator_shares", "operators_metadata"]
    result = run_windows(instance, database, chain, FIRST, assets=tables)

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "has no price in 1..10^18" in str(failure.step_failure_data.error)
    assert rows(database, "operator_share_prices") == 0
    assert rows(database, "operator_shares") > 100
    assert rows(database, "operators_metadata") > 1


def test_only_what_may_pass_is_tried_again(database: psycopg.Connection) -> None:
    for trouble in (
        NodeUnreachableError("the node is in a mood"),
        SilentDatabaseError("the database has been silent for 28 s"),
        psycopg.errors.DiskFull("no space left on device"),
        psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"),
    ):
        with pytest.raises(dg.RetryRequested) as asked, retried_if_it_may_pass(1, database, {}):
            raise trouble
        assert (asked.value.max_retries, asked.value.seconds_to_wait) == (3, 20)
    with pytest.raises(psycopg.errors.UndefinedTable), retried_if_it_may_pass(1, database, {}):
        database.execute("SELECT FROM nothing_of_that_name")
    with pytest.raises(dg.Failure) as failure, retried_if_it_may_pass(0, database, {}):
        raise DomainMissingError("the domain does not exist")
    assert failure.value.allow_retries is False


def test_no_step_has_a_retry_policy_because_a_cancelled_step_would_be_retried() -> None:
    for asset in defs.assets or ():
        assert isinstance(asset, dg.AssetsDefinition)
        assert asset.op.retry_policy is None
