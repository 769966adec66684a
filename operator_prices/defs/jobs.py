"""The jobs: which assets run together, and the housekeeping."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg

from operator_prices.defs.legacy_assets import legacy_epochs
from operator_prices.defs.parity_checks import parity
from operator_prices.settings import Settings

ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


ingest_epochs = dg.define_asset_job(
    "ingest_epochs",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(legacy_epochs),
    description="Read a window's completed epochs from the chain and bring all tables up to date.",
)

import_legacy = dg.define_asset_job(
    "import_legacy",
    # What is doubtful of an old row is for `verify` to name, and no reason to import nothing.
    selection=dg.AssetSelection.assets(legacy_epochs).downstream().without_checks(),
    description="Import a window's snapshots of the old system and bring all tables up to date.",
)

verify_parity = dg.define_asset_job(
    "verify_parity",
    selection=dg.AssetSelection.checks(*parity.check_keys),
    description="Compare all tables with the raw JSON, and the old view with the new one.",
)


@dg.op
def old_runs(
    context: dg.OpExecutionContext,
    options: dg.ResourceParam[Settings],
    database: dg.ResourceParam[psycopg.Connection],  # noqa: ARG001 - who has it gives signs of life
) -> None:
    """Delete runs that ended long ago and hold no latest materialization."""
    before = datetime.now(UTC) - timedelta(days=options.keep_runs_days)
    forgotten, kept = forget_runs(context.instance, before)
    context.add_output_metadata({"deleted": forgotten, "kept": kept})


@dg.job
def delete_old_runs() -> None:
    """Delete the event logs of old runs, which Dagster itself keeps for ever."""
    old_runs()


def forget_runs(
    instance: dg.DagsterInstance, before: datetime, *, at_most: int = 1000
) -> tuple[int, int]:
    """Delete the runs that ended before a time, with their logs; return how many went and stayed.

    A run that holds the latest materialization of any window stays: the UI would show the window as
    missing. Of the oldest `at_most` that can go, so that one call has an end.
    """
    forgotten = kept = 0
    records = instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, created_before=before), ascending=True
    )
    for record in records:
        run_id = record.dagster_run.run_id
        if forgotten == at_most:
            break
        if _holds_a_latest(instance, run_id):
            kept += 1
        else:
            instance.delete_run(run_id)
            forgotten += 1
    return forgotten, kept


def _holds_a_latest(instance: dg.DagsterInstance, run_id: str) -> bool:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        if event is None or event.asset_key is None:
            continue
        partitions = None if event.partition is None else [event.partition]
        of = dg.AssetRecordsFilter(asset_key=event.asset_key, asset_partitions=partitions)
        latest = instance.fetch_materializations(of, limit=1).records
        if latest and latest[0].run_id == run_id:
            return True
    return False
