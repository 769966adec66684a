"""The old system's snapshots as an asset, so that an import is a backfill like any other."""

from dataclasses import asdict

import dagster as dg
import psycopg
from pydantic import Field

from operator_prices.defs.partitions import windows_of
from operator_prices.defs.window_assets import materializing, row_counts, windowed
from operator_prices.legacy.importing import import_window
from operator_prices.settings import Settings


class LegacySource(dg.Config):
    """What an import is told."""

    source: str = Field(
        default="",
        description="A SQLite file or a Postgres URL; nothing stands for our own table epochs."
        " Other forms are brought in by `operator-prices import-legacy`."
        " A URL with a password is named as {env: LEGACY_SOURCE}, since this is stored.",
    )
    domain_id: int = 0
    keep_raw: bool = Field(
        default=False, description="Keep the rows of a source as they are, not reduced."
    )
    reduce: bool = Field(default=False, description="Reduce the rows of our own table.")


@windowed("raw", {"sqlite", "postgres"})
def legacy_epochs(
    context: dg.AssetExecutionContext,
    config: LegacySource,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """The old system's snapshots of the window's epochs, and all the prices that they tell.

    They go to table `epochs`, where rows read from a node stand above them.
    """
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            result = import_window(
                database,
                config.source,
                window,
                domain_id=config.domain_id,
                keep_raw=config.keep_raw,
                reduce=config.reduce,
            )
            metadata.update(asdict(result))
            metadata.update(
                row_counts(result.epochs, result.changed_epochs + result.changed_prices)
            )
            metadata["touched"] = [touched.key for touched in result.touched]
