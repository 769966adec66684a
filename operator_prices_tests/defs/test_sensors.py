import dataclasses
import time
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.chain import (
    Chain,
    Head,
    NodeBehindError,
    NodeHangsError,
    NodeUnreachableError,
    Reach,
)
from operator_prices.defs import node_reach, sensors
from operator_prices.defs.partitions import (
    WILL_RETRY,
    begin_windows,
    busy_windows,
    remove_strangers,
)
from operator_prices.defs.sensors import (
    LOOKS_APART,
    WINDOWS_A_TICK,
    Situation,
    Tries,
    completed_epochs,
    to_ask_for,
    tries_of,
    wanted,
)
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.settings import Settings
from operator_prices_tests.support.heads import HeadOnly, Unreachable, served
from operator_prices_tests.support.samples import reading, truth_of

FIRST, SECOND, THIRD = EpochWindow(0), EpochWindow(100), EpochWindow(200)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that ticks would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(sensors, "sleep", waited.append)
    return waited


def keys(situation: Situation) -> list[str]:
    return [one.run_key for one in to_ask_for(situation)]


def test_windows_that_lack_epochs_are_wanted_for_the_last_one_they_lack() -> None:
    assert wanted([3, 7, 199, 101]) == {FIRST: 7, SECOND: 199}


def test_no_epoch_waits_for_nominators_of_others() -> None:
    behind = wanted([110, 205], [3, 105, 110, 205])
    assert list(behind.items()) == [(SECOND, 110), (THIRD, 205), (FIRST, 3)]
    assert list(wanted([], [110, 3]).items()) == [(FIRST, 3), (SECOND, 110)]


def test_the_open_window_is_run_again_when_it_gains_an_epoch() -> None:
    before = Situation(wanted={SECOND: 110}, now=1000)
    after = Situation(wanted={SECOND: 111}, now=1000, tries=lambda *_: Tries(0, "run1", 999))
    assert keys(before) == ["000100-000199@110 after none"]
    assert keys(after) == ["000100-000199@111 after run1"]


def test_a_window_that_a_run_is_under_way_for_is_left_to_it() -> None:
    situation = Situation(wanted={FIRST: 7, SECOND: 110}, now=1000, busy=frozenset({SECOND}))
    assert [one.window for one in to_ask_for(situation)] == [FIRST]


def test_of_windows_that_do_not_come_up_no_runs_are_looked_for() -> None:
    looked_for: list[EpochWindow] = []

    def tries(window: EpochWindow, _: int) -> Tries:
        looked_for.append(window)
        return Tries()

    behind = {EpochWindow(first): first for first in range(0, 50_000, 100)}
    busy = frozenset({FIRST})
    asked = to_ask_for(Situation(wanted=behind, now=1000, busy=busy, ours=1, tries=tries))
    assert len(asked) == WINDOWS_A_TICK - 1
    assert looked_for == [one.window for one in asked]


@pytest.mark.parametrize(
    ("failed", "seconds_ago", "asked"),
    [(1, 29, False), (1, 31, True), (2, 31, False), (2, 61, True), (20, 3601, True)],
)
def test_a_run_that_failed_is_repeated_after_a_pause_that_doubles(
    failed: int, seconds_ago: float, *, asked: bool
) -> None:
    tries = Tries(failed, "the run before", 1_000_000 - seconds_ago)
    situation = Situation(wanted={FIRST: 7}, now=1_000_000, tries=lambda *_: tries)
    assert keys(situation) == (["000000-000099@7 after the run before"] if asked else [])


def test_a_long_downtime_is_made_up_for_in_steps() -> None:
    behind = wanted(range(100 * 30))
    first = to_ask_for(Situation(wanted=behind, now=1))
    assert [one.window.first for one in first] == [100 * n for n in range(WINDOWS_A_TICK)]
    busy = frozenset(one.window for one in first)
    assert not to_ask_for(Situation(wanted=behind, now=6, busy=busy, ours=len(busy)))


def test_a_backfill_of_other_windows_does_not_hold_up_who_follows_the_chain() -> None:
    backfill = frozenset(EpochWindow(100 * n) for n in range(50))
    newest = EpochWindow(5000)
    assert keys(Situation(wanted={newest: 5001}, now=1, busy=backfill)) == [
        "005000-005099@5001 after none"
    ]


NODE = "ws://user:secret@node.example/ws"


def tick(
    chain: Chain, database: psycopg.Connection, instance: dg.DagsterInstance
) -> dg.SensorResult | dg.SkipReason:
    result, _ = remembering(chain, database, instance)
    return result


def remembering(
    chain: Chain,
    database: psycopg.Connection,
    instance: dg.DagsterInstance,
    cursor: str | None = None,
    url: str = NODE,
) -> tuple[dg.SensorResult | dg.SkipReason, str | None]:
    """A tick and the cursor that it leaves."""
    options = Settings(archive_node_url=url)
    context = dg.build_sensor_context(
        instance=instance,
        resources={"chain": chain, "database": database, "options": options},
        cursor=cursor,
    )
    result = completed_epochs(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result, context.cursor


def asked_of(result: dg.SensorResult | dg.SkipReason) -> list[str | None]:
    if isinstance(result, dg.SkipReason):
        return []
    return [one.partition_key for one in result.run_requests or ()]


class Growing(HeadOnly):
    """Each time it is asked for its head, another epoch of a hundred blocks is completed."""

    def __init__(self, last: int, gate: int) -> None:
        super().__init__(last)
        self._next, self._gate = last, gate

    def head(self) -> Head:
        self._next += 1
        return Head(self._gate + 100, self._gate, self._next - 1)


@pytest.mark.parametrize(("blocks", "asked"), [(74, []), (75, ["000000-000099"]), (200, [])])
def test_a_tick_looks_twice_when_an_epoch_is_due(
    blocks: int,
    asked: list[str],
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    pauses: list[float],
) -> None:
    served(database, range(8))
    database.execute("UPDATE epochs SET end_block = 100 * epoch + 99")
    assert asked_of(tick(Growing(7, 799 + blocks), database, instance)) == asked
    assert pauses == ([LOOKS_APART] if asked else [])


def test_a_tick_adds_all_windows_in_order_and_asks_for_those_behind(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    result = tick(HeadOnly(250), database, instance)

    assert isinstance(result, dg.SensorResult)
    (added,) = result.dynamic_partitions_requests or ()
    assert added.partition_keys == ["000000-000099", "000100-000199", "000200-000299"]
    requests = result.run_requests or []
    assert [one.partition_key for one in requests] == added.partition_keys
    assert requests[-1].run_key == "000200-000299@250 after none"
    assert {name: text for name, text in requests[-1].tags.items() if "dagster" not in name} == {
        "source": "completed_epochs"
    }


def test_what_is_stored_says_what_is_missing_and_not_the_cursor(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(250))
    assert isinstance(tick(HeadOnly(249), database, instance), dg.SkipReason)
    database.execute("DELETE FROM epoch_analytics WHERE epoch = 120")

    result = tick(HeadOnly(249), database, instance)

    assert isinstance(result, dg.SensorResult)
    assert [one.partition_key for one in result.run_requests or ()] == ["000100-000199"]


def test_what_is_in_quarantine_is_not_read_again_at_once(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(10))
    database.execute("UPDATE epochs SET complete = false WHERE epoch = 3")
    assert isinstance(tick(HeadOnly(9), database, instance), dg.SkipReason)


def test_a_read_that_fails_is_not_nothing_new(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    with pytest.raises(NodeUnreachableError):
        tick(Unreachable(None), database, instance)


def test_windows_that_a_node_never_had_are_not_asked_for_and_later_ones_are(
    instance: dg.DagsterInstance, database: psycopg.Connection, tmp_path: Path
) -> None:
    whole = Scenario(seconds_per_block=0, epochs=112, operators=2, forced=())
    played = DevChain(whole)
    begin = next(one for one in truth_of(played) if one.epoch == 96).end_block
    with serving(dataclasses.replace(whole, first_block=begin)) as node:
        with reading(node.url, tmp_path) as chain:
            result, cursor = remembering(chain, database, instance, url=node.url)
            assert asked_of(result) == [SECOND.key]
        with reading(node.url, tmp_path) as chain:
            again, kept = remembering(chain, database, instance, cursor, url=node.url)
            assert (asked_of(again), kept, chain.requests < 10) == ([SECOND.key], cursor, True)
    with serving(played) as other, reading(other.url, tmp_path) as chain:
        result, _ = remembering(chain, database, instance, cursor, url=other.url)
        assert asked_of(result) == [FIRST.key, SECOND.key]


def test_what_a_node_never_had_is_asked_once_an_hour_and_when_the_address_changes(
    instance: dg.DagsterInstance, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = HeadOnly(99, first_epoch=96)
    result, cursor = remembering(chain, database, instance, "98")  # as an older version left it
    assert isinstance(result, dg.SkipReason)
    assert "epochs before 96, which the node never had" in str(result.skip_message)
    assert "secret" not in str(cursor)
    for _ in range(3):
        result, cursor = remembering(chain, database, instance, cursor)
        assert isinstance(result, dg.SkipReason)
    assert chain.reaches == 1
    other = HeadOnly(99)
    result, _ = remembering(other, database, instance, cursor, url="ws://other.example")
    assert (asked_of(result), other.reaches) == ([FIRST.key], 1)
    an_hour_later = time.time() + node_reach.GOOD_FOR
    monkeypatch.setattr(node_reach, "time", lambda: an_hour_later)
    mended = HeadOnly(99)
    result, _ = remembering(mended, database, instance, cursor)
    assert (asked_of(result), mended.reaches) == ([FIRST.key], 1)


def test_new_epochs_are_asked_for_beside_old_ones_that_never_will_have_nominators(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(150))
    database.execute("DELETE FROM nominator_epochs WHERE epoch < 130")
    short = HeadOnly(149, first_epoch=140)
    assert isinstance(tick(short, database, instance), dg.SkipReason)
    assert asked_of(tick(HeadOnly(150, first_epoch=140), database, instance)) == [SECOND.key]


def test_what_was_read_and_is_not_served_needs_no_node_that_still_has_it(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(150))
    database.execute("DELETE FROM epoch_analytics WHERE epoch = 120")
    chain = HeadOnly(149, first_epoch=140)
    assert asked_of(tick(chain, database, instance)) == [SECOND.key]
    database.execute("DELETE FROM epochs WHERE epoch = 121")
    assert isinstance(tick(chain, database, instance), dg.SkipReason)


def test_where_a_node_does_not_say_how_far_back_it_goes_all_that_lacks_is_asked_for(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    class Silent(HeadOnly):
        def reach(self) -> Reach:
            self.reaches += 1
            raise NodeHangsError("nothing is said")

    chain = Silent(99)
    result, cursor = remembering(chain, database, instance)
    assert asked_of(result) == [FIRST.key]
    again, _ = remembering(chain, database, instance, cursor)
    assert (asked_of(again), chain.reaches) == ([FIRST.key], 1)


def test_a_node_that_is_behind_what_is_stored_is_not_nothing_new(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(10))
    for last in (8, None):
        with pytest.raises(NodeBehindError, match="epoch 9 is stored"):
            tick(HeadOnly(last), database, instance)
    database.execute("UPDATE epochs SET source = 'legacy'")
    assert isinstance(tick(HeadOnly(None), database, instance), dg.SkipReason)


@pytest.mark.parametrize(
    "key", ["foo", "000000-000098", "000050-000149", "-100-000001", "0-99", ""]
)
def test_a_partition_that_is_no_window_is_about_something_else(
    instance: dg.DagsterInstance, database: psycopg.Connection, key: str
) -> None:
    @dg.job
    def nothing() -> None:
        pass

    instance.create_run_for_job(
        nothing, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": key}
    )
    assert busy_windows(instance) == frozenset()
    instance.add_dynamic_partitions("epoch_windows", [FIRST.key, key or "empty"])
    assert isinstance(tick(HeadOnly(5), database, instance), dg.SensorResult)
    assert instance.get_dynamic_partitions("epoch_windows") == [FIRST.key]


def test_a_backfill_that_is_launched_meanwhile_keeps_its_partitions(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backfills are asked for once it is known what would be taken away, and only then."""
    asked: list[str] = []

    def note(name: str) -> None:
        real = getattr(instance, name)

        def noted(*told: object, **more: object) -> object:
            asked.append(name)
            return real(*told, **more)

        monkeypatch.setattr(instance, name, noted)

    instance.add_dynamic_partitions("epoch_windows", [FIRST.key, "typo"])
    note("get_dynamic_partitions")
    note("get_backfills")
    assert remove_strangers(instance) == ["typo"]
    assert asked == ["get_dynamic_partitions", "get_backfills"]
    assert remove_strangers(instance) == []
    assert asked[2:] == ["get_dynamic_partitions"]


def test_a_chain_without_a_completed_epoch_is_skipped(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    assert isinstance(tick(HeadOnly(None), database, instance), dg.SkipReason)


def test_the_tries_of_an_epoch_are_told_by_the_keys_of_their_runs(
    instance: dg.DagsterInstance,
) -> None:
    @dg.job(name="ingest_epochs")
    def failing() -> None:
        pass

    for key in ("@99 after none", "@99 after run1", "@98 after none", "@999 after none"):
        instance.create_run_for_job(
            failing,
            status=dg.DagsterRunStatus.FAILURE,
            tags={"dagster/partition": FIRST.key, "dagster/run_key": f"{FIRST.key}{key}"},
        )
    assert tries_of(instance, FIRST, 99).count == 2


def test_windows_that_fail_for_want_of_nominators_hold_up_nobody(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    """Thirty-five of them that failed just now wait, and the head is read."""
    windows = 35
    served(database, range(100 * windows))
    database.execute("DELETE FROM nominator_epochs")

    @dg.job(name="ingest_epochs")
    def failing() -> None:
        pass

    for window in between(0, 100 * windows - 1):
        instance.create_run_for_job(
            failing,
            tags={
                "dagster/partition": window.key,
                "dagster/run_key": f"{window.key}@{window.last} after none",
            },
        )
    for run in instance.get_runs():
        instance.report_run_failed(run)
    assert isinstance(tick(HeadOnly(100 * windows - 1), database, instance), dg.SkipReason)

    result = tick(HeadOnly(100 * windows), database, instance)

    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert request.partition_key == f"{100 * windows:06}-{100 * windows + 99:06}"


def test_a_range_with_a_far_future_window_keeps_those_busy_that_there_are(
    instance: dg.DagsterInstance,
) -> None:
    begin_windows(instance, 199)
    far = EpochWindow(10**12)
    instance.add_dynamic_partitions("epoch_windows", [far.key])

    @dg.job
    def nothing() -> None:
        pass

    instance.create_run_for_job(
        nothing,
        status=dg.DagsterRunStatus.STARTED,
        tags={
            "dagster/asset_partition_range_start": FIRST.key,
            "dagster/asset_partition_range_end": far.key,
        },
    )
    assert busy_windows(instance) == {FIRST, SECOND, far}


def test_a_run_over_several_windows_keeps_all_of_them_busy(instance: dg.DagsterInstance) -> None:
    begin_windows(instance, 299)

    @dg.job
    def nothing() -> None:
        pass

    instance.create_run_for_job(
        nothing,
        status=dg.DagsterRunStatus.STARTED,
        tags={
            "dagster/asset_partition_range_start": FIRST.key,
            "dagster/asset_partition_range_end": SECOND.key,
        },
    )
    assert busy_windows(instance) == {FIRST, SECOND}


@pytest.mark.parametrize(
    ("tags", "busy"),
    [
        ({WILL_RETRY: "true"}, {FIRST}),
        ({WILL_RETRY: "true", "dagster/auto_retry_run_id": "b"}, set()),
        ({WILL_RETRY: "false"}, set()),
    ],
)
def test_a_run_that_dagster_is_about_to_run_again_keeps_its_window_busy(
    instance: dg.DagsterInstance, tags: dict[str, str], busy: set[EpochWindow]
) -> None:
    instance.add_run(
        dg.DagsterRun(
            "job",
            run_id="a",
            status=dg.DagsterRunStatus.FAILURE,
            tags={"dagster/partition": FIRST.key, **tags},
        )
    )
    assert busy_windows(instance) == busy
