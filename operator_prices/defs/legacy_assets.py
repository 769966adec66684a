"""The old system's snapshots as an asset, so that an import is a backfill like any other."""

import shutil
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import psycopg
from pydantic import Field

from operator_prices.defs.partitions import windows_of
from operator_prices.defs.window_assets import materializing, row_counts, windowed
from operator_prices.legacy.errors import UnusableSourceError
from operator_prices.legacy.importing import import_window
from operator_prices.legacy.nominator_tables import keep_listed
from operator_prices.legacy.quarantine import quarantine_misplaced
from operator_prices.legacy.sources import STANDARD_INPUT, open_source
from operator_prices.legacy.staging import staged
from operator_prices.settings import Settings


class LegacySource(dg.Config):
    """What an import is told."""

    source: str = Field(
        default="",
        description="A file or a folder of the old system in whatever form, an https:// address, or"
        " a Postgres URL; nothing stands for our own table epochs. An address with a password is"
        " named as {env: LEGACY_SOURCE}, since this is stored.",
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
    if config.source == STANDARD_INPUT:
        raise dg.Failure("a run has no standard input: name a file", allow_retries=False)
    folder = options.data_dir / "staging"
    with staged(config.source, folder, pg_restore, own=context.run.run_id) as source:
        with open_source(source.place, database) as opened:
            quarantine_misplaced(database, opened)
        for window in windows_of(context):
            with materializing(context, database, window, options) as metadata:
                result = import_window(
                    database,
                    source.place,
                    window,
                    domain_id=config.domain_id,
                    keep_raw=config.keep_raw,
                    reduce=config.reduce,
                )
                changed = result.changed_epochs + result.changed_prices
                metadata.update(asdict(result))
                if options.nominators == "on":
                    again = not result.already_done
                    kept = asdict(keep_listed(database, window, again=again))
                    metadata.update({name: told for name, told in kept.items() if told is not None})
                metadata.update(row_counts(result.epochs, changed))
                metadata["touched"] = [touched.key for touched in result.touched]


def pg_restore() -> Path:
    """The program that reads what `pg_dump -Fc` has written. Raises `UnusableSourceError`."""
    found = shutil.which("pg_restore")
    if found is None:
        raise UnusableSourceError(
            "The source is a dump of pg_dump -Fc, and pg_restore is not in the PATH of Dagster's"
            " processes: install Postgres's client programs, or use `operator-prices"
            " import-legacy`."
        )
    return Path(found)
