from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
import psycopg
import pytest

from operator_prices.chain import NodeUnreachableError
from operator_prices.definitions import defs
from operator_prices.defs.schedules import (
    WINDOWS_A_DAY,
    daily_verification,
    hourly_freshness,
    windows_to_recheck,
)
from operator_prices.settings import Settings
from operator_prices_tests.support.heads import HeadOnly, Unreachable, served


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A schedule wants an instance that other processes could open, too."""
    with dg.instance_for_test() as instance:
        yield instance


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def firsts(last_stored: int, lacking: list[int]) -> list[int]:
    return [window.first for window in windows_to_recheck(last_stored, lacking)]


def test_the_newest_windows_are_verified_and_those_with_holes_read_again() -> None:
    assert firsts(712, [3, 7, 250, 699]) == [0, 200, 500, 600, 700]
    assert firsts(12, []) == [0]
    assert firsts(-1, []) == []


def test_many_windows_with_holes_are_mended_over_some_days() -> None:
    assert len(firsts(99_999, list(range(0, 99_999, 100)))) == WINDOWS_A_DAY + 3


def requests(
    schedule: dg.ScheduleDefinition,
    instance: dg.DagsterInstance,
    nominators: Literal["on", "off"] = "on",
    **resources: object,
) -> list[dg.RunRequest]:
    options = Settings(nominators=nominators)
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=NOON,
        resources={"options": options} | resources,
        repository_def=defs.get_repository_def(),
    ) as context:
        return list(schedule.evaluate_tick(context).run_requests or ())


def test_a_day_asks_for_runs_that_verify(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(120))
    asked = requests(daily_verification, instance, database=database, chain=Unreachable(None))

    assert [one.run_key for one in asked] == [
        "000000-000099@2026-01-01T12:00",
        "000100-000199@2026-01-01T12:00",
    ]
    assert asked[0].run_config["ops"] == {"raw_epochs": {"config": {"verify": True}}}
    assert asked[0].tags["source"] == "daily_verification"


def test_an_hour_asks_for_the_check_of_freshness_alone(
    instance: dg.DagsterInstance,
) -> None:
    (asked,) = requests(hourly_freshness, instance, chain=HeadOnly(119))

    assert asked.partition_key == "000100-000199"
    assert asked.asset_selection == []
    assert [key.name for key in asked.asset_check_keys or ()] == ["up_to_date"]


def test_an_empty_database_is_not_verified(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    chain = Unreachable(None)
    assert requests(daily_verification, instance, database=database, chain=chain) == []


def test_a_day_leaves_out_holes_that_the_node_never_will_fill(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(700))
    database.execute("DELETE FROM epochs WHERE epoch IN (3, 150, 250)")

    def windows(chain: HeadOnly) -> list[str | None]:
        asked = requests(daily_verification, instance, database=database, chain=chain)
        return [one.partition_key for one in asked]

    newest = ["000400-000499", "000500-000599", "000600-000699"]
    assert windows(HeadOnly(699, first_epoch=200)) == ["000200-000299", *newest]
    whole = ["000000-000099", "000100-000199", "000200-000299", *newest]
    assert windows(HeadOnly(699)) == whole


def test_a_day_fills_holes_beside_what_was_read_in_part_and_is_gone(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(700))
    database.execute("UPDATE epochs SET complete = false WHERE epoch IN (3, 203)")
    database.execute("UPDATE nominator_epochs SET complete = false WHERE epoch = 204")
    database.execute("DELETE FROM epochs WHERE epoch = 250")
    chain = HeadOnly(699, first_epoch=240)
    asked = requests(daily_verification, instance, database=database, chain=chain)
    assert next(one.partition_key for one in asked) == "000200-000299"


def test_a_day_reads_nominators_again_that_are_not_known_whole(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    served(database, range(700))
    database.execute("UPDATE nominator_epochs SET complete = false WHERE epoch = 199")
    database.execute("DELETE FROM nominator_epochs WHERE epoch = 7")

    def windows(nominators: Literal["on", "off"]) -> list[str | None]:
        chain = HeadOnly(699, first_epoch=100)
        asked = requests(
            daily_verification, instance, nominators=nominators, database=database, chain=chain
        )
        return [one.partition_key for one in asked]

    newest = ["000400-000499", "000500-000599", "000600-000699"]
    assert windows("on") == ["000100-000199", *newest]
    assert windows("off") == newest


def test_a_chain_without_a_completed_epoch_has_nothing_to_be_fresh(
    instance: dg.DagsterInstance,
) -> None:
    assert requests(hourly_freshness, instance, chain=HeadOnly(None)) == []


def test_a_node_that_does_not_answer_fails_the_tick(instance: dg.DagsterInstance) -> None:
    with pytest.raises(Exception, match="hourly_freshness") as raised:
        requests(hourly_freshness, instance, chain=Unreachable(None))
    assert isinstance(raised.value.__cause__, NodeUnreachableError)
