from collections.abc import Iterator, Sequence

import dagster as dg
import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Chain, Head, NodeUnreachableError
from operator_prices.definitions import defs
from operator_prices.defs import checks, verdicts, window_assets
from operator_prices.epochs.windows import EpochWindow
from operator_prices.settings import Settings
from operator_prices.store.offenders import CHECKS
from operator_prices_tests.support.windows_samples import (
    FIRST,
    SECOND,
    DoubledOperator,
    DoubledStake,
    Lying,
    MissingEpoch,
    WrongPrice,
    failed_checks,
    rows,
    run_windows,
    small_chain,
)

SPECS = [
    *checks.RAW,
    checks.ON_THE_CHAIN,
    *checks.PRICES,
    *checks.SHARES,
    *checks.METADATA,
    *checks.NOMINATORS,
    *checks.ANALYTICS,
    checks.UP_TO_DATE,
]

WINDOW = EpochWindow(0)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with small_chain(tmp_path_factory.mktemp("runtimes")) as chain:
        yield chain


def test_each_window_of_a_run_has_a_verdict_of_each_check(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    result = run_windows(instance, database, chain, FIRST, SECOND)

    found = {(one.check_name, one.partition) for one in result.get_asset_check_evaluations()}
    assert found == {(spec.name, key) for spec in SPECS for key in (FIRST, SECOND)}
    assert not failed_checks(result)
    for spec in SPECS:
        records = instance.event_log_storage.get_asset_check_execution_history(spec.key, limit=9)
        statuses = {(one.partition, one.status.value) for one in records}
        assert statuses == {(FIRST, "SUCCEEDED"), (SECOND, "SUCCEEDED")}, spec.name


@pytest.mark.parametrize(
    ("lie", "check", "stopped_before"),
    [
        (WrongPrice, "price_not_above_recomputed", "comprehensive_analytics"),
        (MissingEpoch, "no_gaps", "operator_shares"),
        (DoubledOperator, "operators_once", "operator_shares"),
        (DoubledStake, "active_stakes_add_up", "operator_shares"),
    ],
)
def test_a_corrupted_chain_is_stopped_by_the_check_meant_for_it(
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    chain: Chain,
    *,
    lie: type[Lying],
    check: str,
    stopped_before: str,
) -> None:
    result = run_windows(instance, database, lie(chain), FIRST)

    assert not result.success
    assert failed_checks(result) == {check}
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == check]
    assert found.partition == FIRST
    assert "epoch 7" in str(found.description)
    assert rows(database, stopped_before) == 0
    assert rows(database, "comprehensive_analytics") == 0


def test_a_block_that_has_left_the_chain_is_named(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    lying = Lying(chain)
    run_windows(instance, database, lying, FIRST)
    ((_, block, stored), *_) = store.blocks(database, 7, 7)
    lying.hashes[block] = other = "0x" + "cd" * 32

    result = run_windows(instance, database, lying, FIRST)

    assert failed_checks(result) == {"on_the_chain"}
    (found,) = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert found.description == f"epoch 7, block {block}: {stored} instead of {other}"


CORRUPTIONS = {
    "no_gaps": "DELETE FROM epochs WHERE epoch = 7",
    "blocks_in_order": "UPDATE epochs SET transition_block = end_block WHERE epoch = 7",
    "operators_once": "UPDATE epochs SET data = jsonb_set(data, '{operators,entries}',"
    " data #> '{operators,entries}' || (data #> '{operators,entries,0}')) WHERE epoch = 7",
    "active_stakes_add_up": "UPDATE epochs SET data = jsonb_set(data,"
    " '{domainStakingSummary,currentTotalStake}', '\"1\"') WHERE epoch = 7",
    "quarantine_empty": "INSERT INTO quarantine (epoch, item, reason, source)"
    " VALUES (7, 'Operators', 'too short', 'chain')",
    "price_is_a_price": "UPDATE operator_share_prices SET share_price_perq = 0"
    " WHERE epoch = 7 AND operator_id = 1",
    "price_not_above_recomputed": "UPDATE operator_share_prices"
    " SET share_price_perq = 1000000000000000000 WHERE epoch = 7 AND operator_id = 1",
    "price_as_recomputed": "UPDATE operator_share_prices"
    " SET share_price_perq = share_price_perq - 1000000001 WHERE epoch = 7 AND operator_id = 1",
    "prices_as_in_raw": "UPDATE epochs SET data = jsonb_set(data,"
    ' \'{operatorEpochSharePrice,entries}\', \'[{"key": ["1", "[0,7]"], "value": "5"}]\')'
    " WHERE epoch = 7",
    "shares_at_most_stake": "UPDATE operator_shares SET shares_raw = stake_raw + 1"
    " WHERE epoch = 7 AND operator_id = 1",
    "shares_as_in_raw": "UPDATE operator_shares SET reward_raw = reward_raw + 1"
    " WHERE epoch = 7 AND operator_id = 1",
    "stake_per_share_never_falls": "UPDATE operator_shares SET stake_raw = stake_raw - 10^15"
    " * 1000000 WHERE epoch = 7 AND operator_id = 1",
    "metadata_complete": "UPDATE operators_metadata SET owner = NULL WHERE operator_id = 1",
    "rows_as_epochs": "DELETE FROM epoch_analytics WHERE epoch = 7",
    "nominators_understood": "INSERT INTO quarantine (epoch, item, reason, source)"
    " VALUES (7, 'Deposits', 'too short', 'chain')",
    "nominators_as_listed": "INSERT INTO quarantine (epoch, item, reason, source)"
    " VALUES (7, 'NominatorListing', 'it was missed', 'chain')",
    "shares_add_up": "UPDATE operator_shares SET shares_raw = shares_raw + 10^9"
    " WHERE epoch = 7 AND operator_id = 1",
    "storage_fees_add_up": "UPDATE operator_shares SET storage_fee_deposit_raw = 1"
    " WHERE epoch = 7 AND operator_id = 1",
    "values_within_stake": "UPDATE operator_shares SET (shares_raw, stake_raw) = (1, 1)"
    " WHERE epoch = 7 AND operator_id = 1",
    "pending_has_no_price": "UPDATE nominator_positions SET (epoch, pending_raw) = (7, 5)"
    " WHERE (operator_id, nominator, epoch) = (SELECT operator_id, nominator, max(epoch)"
    "   FROM nominator_positions AS last WHERE operator_id = 1 AND epoch < 7 AND shares_raw > 0"
    "     AND NOT EXISTS (SELECT FROM nominator_positions AS other WHERE other.epoch = 7"
    "       AND (other.operator_id, other.nominator) = (last.operator_id, last.nominator))"
    "   GROUP BY operator_id, nominator ORDER BY nominator LIMIT 1)",
}
"""For each check a change of stored data that it must notice."""


def test_there_is_a_corruption_for_each_query() -> None:
    assert set(CORRUPTIONS) == {file.stem for file in CHECKS.glob("*.sql")}


def test_each_query_finds_nothing_in_good_data_and_names_what_is_wrong(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST)
    for check, change in CORRUPTIONS.items():
        assert store.offenders(database, check, WINDOW) == [], check
        with database.transaction(force_rollback=True):
            database.execute(change.encode())
            first, *_ = store.offenders(database, check, WINDOW)
        if check != "metadata_complete":  # it names the first epoch that shows the operator
            assert first["epoch"] == 7, check


@pytest.mark.parametrize("check", ["prices_as_in_raw", "shares_as_in_raw"])
def test_rows_whose_raw_epoch_somebody_deleted_are_told_as_such(
    check: str, instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST)
    database.execute("DELETE FROM epochs WHERE epoch = 7")
    told = verdicts.in_words(store.offenders(database, check, WINDOW))
    assert told.startswith("epoch 7, operator ")
    assert "whose raw epoch is not stored: materialize raw_epochs of the window" in told
    assert "instead of nothing" in told


def test_checks_of_what_is_only_remarkable_never_block() -> None:
    assert not [spec for spec in SPECS if spec.blocking and spec.name in verdicts.WARNINGS]
    assert {spec.name for spec in SPECS} >= verdicts.WARNINGS


def test_what_a_listing_has_shown_is_a_warning_with_both_values_and_its_window_goes_on(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST)
    database.execute(
        "INSERT INTO quarantine (epoch, item, storage_key, reason, source)"
        " VALUES (7, 'NominatorListing', '0x01', 'followed it is nothing, listed 5', 'chain')"
    )
    result = run_windows(instance, database, chain, FIRST)
    assert result.success
    assert result.asset_materializations_for_node("nominator_positions")
    (found,) = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert (found.check_name, found.severity) == (
        "nominators_as_listed",
        dg.AssetCheckSeverity.WARN,
    )
    assert "followed it is nothing, listed 5" in str(found.description)


def test_at_the_head_of_the_chain_every_epoch_that_waits_counts(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    for key, passed in ((SECOND, False), (FIRST, True), (SECOND, True)):
        result = run_windows(instance, database, chain, key)
        (found,) = [
            one for one in result.get_asset_check_evaluations() if one.check_name == "up_to_date"
        ]
        assert found.passed is passed, key
        if not passed:
            assert str(found.description).startswith("epoch 0; epoch 1; ")


def test_all_checks_without_a_window_look_at_all_windows_and_say_one_thing_of_them_together(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST, SECOND)
    database.execute("UPDATE operator_share_prices SET share_price_perq = 0 WHERE epoch = 107")
    job = dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=[dg.define_asset_job("all", dg.AssetSelection.all_asset_checks())],
        executor=dg.in_process_executor,
        resources={"chain": chain, "database": database, "options": Settings.read()},
    ).resolve_job_def("all")

    result = job.execute_in_process(instance=instance, raise_on_error=False)

    verdicts = {
        one.partition: one.passed
        for one in result.get_asset_check_evaluations()
        if one.check_name == "price_is_a_price"
    }
    assert verdicts == {FIRST: True, SECOND: False, None: False}
    assert "price_is_a_price" in failed_checks(result)
    for spec in SPECS:
        records = instance.event_log_storage.get_asset_check_execution_history(spec.key, limit=9)
        assert "PLANNED" not in {one.status.value for one in records}, spec.name


class Away(Lying):
    """A chain that nobody can be asked about."""

    def head(self) -> Head:
        raise NodeUnreachableError("nobody answers")


def test_what_needs_no_node_does_not_fail_for_want_of_one(
    instance: dg.DagsterInstance, database: psycopg.Connection, chain: Chain
) -> None:
    run_windows(instance, database, chain, FIRST)
    parsed = ["operator_share_prices", "operator_shares", "comprehensive_analytics"]
    result = run_windows(instance, database, Away(chain), FIRST, assets=parsed)
    assert result.success
    assert failed_checks(result) == {"up_to_date"}
    (found,) = [one for one in result.get_asset_check_evaluations() if not one.passed]
    assert "nobody answers" in str(found.description)


class Shy(Lying):
    """Is not asked for hashes with success at the first time."""

    asked = 0

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        self.asked += 1
        if self.asked == 1:
            raise NodeUnreachableError("nobody answers")
        return super().block_hashes(blocks)


def test_a_check_that_the_node_does_not_answer_is_tried_again(
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_assets, "FIRST_PAUSE", 0)
    shy = Shy(chain)
    result = run_windows(instance, database, shy, FIRST)
    assert result.success
    assert shy.asked == 2
    assert {one.check_name for one in result.get_asset_check_evaluations() if one.passed} == {
        spec.name for spec in SPECS
    }
