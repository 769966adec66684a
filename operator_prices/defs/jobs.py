"""The jobs: which assets run together, and the housekeeping."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from operator_prices import VERSION
from operator_prices.defs.legacy_assets import legacy_epochs
from operator_prices.defs.parity_checks import parity
from operator_prices.local.dagster_home import forget_runs
from operator_prices.options import Options

ingest_epochs = dg.define_asset_job(
    "ingest_epochs",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(legacy_epochs),
    description="Read a window's completed epochs from the chain and bring all tables up to date.",
    tags={"operator-prices/kind": "ingest", "operator-prices/version": VERSION},
)

import_legacy = dg.define_asset_job(
    "import_legacy",
    # What is doubtful of an old row is for `verify` to name, and no reason to import nothing.
    selection=dg.AssetSelection.assets(legacy_epochs).downstream().without_checks(),
    description="Import a window's snapshots of the old system and bring all tables up to date.",
    tags={"operator-prices/kind": "import", "operator-prices/version": VERSION},
)

verify_parity = dg.define_asset_job(
    "verify_parity",
    selection=dg.AssetSelection.checks(*parity.check_keys),
    description="Compare all tables with the raw JSON, and the old view with the new one.",
    tags={"operator-prices/kind": "verify", "operator-prices/version": VERSION},
)


@dg.op
def old_runs(context: dg.OpExecutionContext, options: dg.ResourceParam[Options]) -> None:
    """Delete runs that ended long ago and hold no latest materialization."""
    before = datetime.now(UTC) - timedelta(days=options.keep_runs_days)
    forgotten, kept = forget_runs(context.instance, before)
    context.add_output_metadata({"deleted": forgotten, "kept": kept})


@dg.job(tags={"operator-prices/kind": "housekeeping", "operator-prices/version": VERSION})
def delete_old_runs() -> None:
    """Delete the event logs of old runs, which Dagster itself keeps for ever."""
    old_runs()
