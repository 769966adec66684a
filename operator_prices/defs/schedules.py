"""What happens by the clock: the newest windows are looked at again, and old logs go."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.chain import Chain
from operator_prices.defs.checks import UP_TO_DATE
from operator_prices.defs.jobs import delete_old_runs, ingest_epochs, verify_parity
from operator_prices.defs.node_reach import asked_reach, to_be_had
from operator_prices.defs.partitions import begin_windows
from operator_prices.epochs.windows import SIZE, EpochWindow
from operator_prices.settings import Settings

NEWEST = 3
"""Windows that are rechecked against the chain each day: reorganizations are never deeper."""

WINDOWS_A_DAY = 50
"""Of the windows in which something is missing or incomplete, as many are read again each day."""

RECHECK = dg.RunConfig(ops={"raw_epochs": {"config": {"verify": True}}})


def windows_to_recheck(last_stored: int, lacking: Sequence[int]) -> list[EpochWindow]:
    """The newest windows, and the oldest of those in which something is missing or incomplete."""
    if last_stored < 0:
        return []
    newest = EpochWindow.containing(last_stored).first
    recent = {EpochWindow(max(0, newest - nth * SIZE)) for nth in range(NEWEST)}
    holed = sorted({EpochWindow.containing(epoch) for epoch in lacking} - recent)
    return sorted(recent | set(holed[:WINDOWS_A_DAY]))


@dg.schedule(
    job=ingest_epochs,
    cron_schedule="17 3 * * *",
    description="Verify the newest windows against the chain; read gaps and quarantine again.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_verification(
    context: dg.ScheduleEvaluationContext,
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    last = store.last_epoch(database)
    lacking = store.all_lacking(database, until=last)
    if options.nominators == "on":
        lacking += store.all_lacking_nominators(database, until=last)
    if lacking:
        reach = asked_reach(chain, context.log)
        lost = store.read_in_part(database, 0, reach.first_epoch - 1)
        lacking = to_be_had(sorted({*lacking}.difference(lost)), reach)
    windows = windows_to_recheck(last, lacking)
    if not windows:
        yield dg.SkipReason("nothing is stored yet")
        return
    begin_windows(context.instance, last)
    for window in windows:
        yield dg.RunRequest(
            run_key=f"{window.key}@{at(context):%Y-%m-%dT%H:%M}",
            partition_key=window.key,
            run_config=RECHECK,
            tags={"source": "daily_verification"},
        )


@dg.schedule(
    job=ingest_epochs,
    cron_schedule="41 * * * *",
    description="See how far we are behind the head of the chain, whatever else runs.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def hourly_freshness(
    context: dg.ScheduleEvaluationContext, chain: dg.ResourceParam[Chain]
) -> dg.RunRequest | dg.SkipReason:
    completed = chain.head().last_completed_epoch
    if completed is None:
        return dg.SkipReason("no epoch is completed yet")
    begin_windows(context.instance, completed)
    window = EpochWindow.containing(completed)
    return dg.RunRequest(
        run_key=f"{window.key}@{at(context):%Y-%m-%dT%H:%M}",
        partition_key=window.key,
        asset_selection=[],
        asset_check_keys=[UP_TO_DATE.key],
        tags={"source": "hourly_freshness"},
    )


weekly_parity = dg.ScheduleDefinition(
    name="weekly_parity",
    job=verify_parity,
    cron_schedule="23 5 * * 0",
    description="Compare all tables with the raw JSON, whatever has been imported or read since.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

daily_cleanup = dg.ScheduleDefinition(
    name="daily_cleanup",
    job=delete_old_runs,
    cron_schedule="47 4 * * *",
    description="Delete the event logs of old runs.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def at(context: dg.ScheduleEvaluationContext) -> datetime:
    """When the tick was due."""
    return context.scheduled_execution_time or datetime.now(UTC)
