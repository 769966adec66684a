"""Do the tables say what the raw JSON says: the queries of `verify` as checks of the whole data."""

from collections.abc import Iterator

import dagster as dg
import psycopg

from operator_prices.defs.legacy_assets import legacy_epochs
from operator_prices.defs.window_assets import retried_if_it_may_pass
from operator_prices.store.parity import findings

PARITY = {
    "gaps": "no gap",
    "operators_as_in_raw_json": "no operator differs from the raw JSON",
    "no_operator_beside_raw_json": "no operator that the raw JSON lacks",
    "prices_as_in_raw_json": "no price differs from the raw JSON",
    "no_price_beside_raw_json": "no price that the raw JSON lacks",
    "derived_prices_as_implied": "no derived price differs from its state",
    "totals_as_in_raw_json": "no total differs from the raw JSON",
    "analytics_fresh": "no stale analytics",
    "values_in_range": "no value out of range",
    "old_view_as_new_view": "no difference to the old view without a reason",
}
"""The queries of `sql/05_verify_migration.sql`, by the names that the UI shows."""


@dg.multi_asset_check(
    name="parity",
    specs=[
        dg.AssetCheckSpec(name, asset=legacy_epochs, description=f"There is {query}.")
        for name, query in PARITY.items()
    ],
)
def parity(
    context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[psycopg.Connection]
) -> Iterator[dg.AssetCheckResult]:
    """Recompute everything from the raw JSON in SQL, beside the code of the pipeline, and compare.

    It reads all that is stored, so it is no part of a window's run: launch job `verify_parity`.
    """
    op = context.op_execution_context
    with retried_if_it_may_pass(op.retry_number, database, op.run.tags):
        found = {finding.name: finding for finding in findings(database)}
    for name, query in PARITY.items():
        finding = found[query]
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=legacy_epochs.key,
            passed=finding.passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "offenders": len(finding.rows),
                "first": dg.MetadataValue.json(
                    [
                        dict(zip(finding.columns, map(str, row), strict=True))
                        for row in finding.rows[:5]
                    ]
                ),
            },
        )
