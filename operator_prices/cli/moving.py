"""The commands that move data in and out: import, export, backup, restore, and what proves them."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from operator_prices import store
from operator_prices.cli.console import Console
from operator_prices.cli.options import DATABASE, INCOMPLETE, FirstEpoch, with_settings
from operator_prices.errors import ExplainedError
from operator_prices.local import backups
from operator_prices.local.database import migrated_database, usable_database
from operator_prices.settings import Settings

LEAN = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072", "POLARS_MAX_THREADS": "1"}
"""What keeps memory flat over a long import; libraries read it when they are loaded."""

Form = Literal["sqlite", "json", "jsonl", "csv", "parquet"]

app = typer.Typer()


class OffendersFoundError(ExplainedError):
    """Stored data that is not as it should be."""


@app.command("import-legacy")
@with_settings(*DATABASE, "domain_id")
def import_legacy(
    source: Annotated[
        str,
        typer.Argument(
            help="A file or a folder of the old system in whatever form, an https:// address, -"
            " for the standard input, or a Postgres URL; it is only read.",
            show_default="the database's own table epochs",
        ),
    ] = "",
    *,
    asked: Settings,
    keep_raw: Annotated[
        bool, typer.Option("--keep-raw", help="Keep the rows of SOURCE as they are, not reduced.")
    ] = False,
    reduce: Annotated[
        bool, typer.Option("--reduce", help="Without SOURCE: reduce the rows of our own table.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if something is in quarantine.")
    ] = False,
) -> None:
    """Bring in the snapshots of the old system, window by window; a second time it goes on."""
    from operator_prices.runs.legacy import import_source  # noqa: PLC0415

    if source and reduce:
        raise typer.BadParameter(
            "--reduce is for our own table: rows of a SOURCE come in reduced, unless --keep-raw"
            " says otherwise"
        )
    if keep_raw and not source:
        raise typer.BadParameter("--keep-raw is for a SOURCE; without one say --reduce or nothing")
    _start_lean()
    console = Console()
    with migrated_database(asked) as settings:
        done = import_source(
            settings,
            source,
            keep_raw=keep_raw,
            reduce=reduce,
            progress=console.import_progress,
            reading=console.reading(),
        )
    console.imported(done)
    if strict and done.quarantined:
        raise typer.Exit(INCOMPLETE)


@app.command()
@with_settings(*DATABASE)
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; a file of that name is replaced.")],
    *,
    asked: Settings,
    with_runs: Annotated[
        bool, typer.Option("--with-runs", help="Dagster's history of runs, too.")
    ] = False,
) -> None:
    """Write what is ours in the database to FILE: tables, views, functions, nothing of others."""
    with usable_database(asked) as settings:
        size = backups.backup(str(settings.database_url), file, with_runs=with_runs)
    Console().say(f"Backup: {file} ({size:,} bytes)")


@app.command()
@with_settings(*DATABASE)
def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` or `migrate` wrote.")],
    *,
    asked: Settings,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace our tables where they are.")
    ] = False,
) -> None:
    """Put back what FILE holds, in one transaction; what is not ours is not touched."""
    with usable_database(asked) as settings:
        done = backups.restore(str(settings.database_url), file, replace=replace)
    checked = f"{done.tables} tables compared row by row" if done.tables else "an old backup, which"
    checked += "" if done.tables else " has no digests to compare with"
    Console().say(f"Restored: {file} ({checked})")
    if done.strangers:
        Console().say(
            f"Left out: the rights of {', '.join(done.strangers)}, whom this server does not have"
        )


@app.command("export")
@with_settings(*DATABASE)
def export_epochs(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    *,
    asked: Settings,
    form: Annotated[
        Form,
        typer.Option("--format", help="How it is written; import-legacy reads all of them back."),
    ] = "sqlite",
) -> None:
    """Write the raw epochs to FILE in one of the old system's forms."""
    _export(asked, file, form)


@app.command("export-sqlite")
@with_settings(*DATABASE)
def export_sqlite(
    file: Annotated[Path, typer.Argument(help="The SQLite file to write.")],
    *,
    asked: Settings,
) -> None:
    """Write the raw epochs to a SQLite file of the old layout: `export` with its default format."""
    _export(asked, file, "sqlite")


def _export(settings: Settings, file: Path, form: Form) -> None:
    from operator_prices.legacy.exporting import export  # noqa: PLC0415

    with (
        migrated_database(settings) as known,
        store.connect(str(known.database_url)) as connection,
    ):
        epochs = export(connection, file, form)
    Console().say(f"Exported: {epochs:,} epochs to {file}")


@app.command()
@with_settings(*DATABASE)
def verify(*, asked: Settings) -> None:
    """Hold all tables against the raw JSON and the old view (parity), and say what is missing."""
    from operator_prices.store.parity import findings  # noqa: PLC0415

    with (
        migrated_database(asked) as settings,
        store.connect(str(settings.database_url)) as connection,
    ):
        found = list(findings(connection))
    Console().findings(found)
    if failed := [finding.name for finding in found if not finding.passed]:
        raise OffendersFoundError(
            f"{len(failed)} of {sum(finding.is_check for finding in found)} checks found offenders:"
            f" {', '.join(failed)}; docs/moving-in.md says what each of them means."
        )


@app.command("compare-paths")
@with_settings(*DATABASE)
def compare_paths(
    *,
    asked: Settings,
    first: FirstEpoch,
    last: Annotated[int, typer.Option("--to", min=0, help="The last epoch.")],
) -> None:
    """Compare the two read paths of these epochs, tables and JSON; report every difference."""
    from operator_prices.legacy.read_paths import compare  # noqa: PLC0415

    if last < first:
        raise typer.BadParameter(f"{last} is before {first}", param_hint="--to")
    with (
        migrated_database(asked) as settings,
        store.connect(str(settings.database_url)) as connection,
    ):
        count = Console().differences(compare(connection, first, last))
    if count:
        raise OffendersFoundError(
            f"The two ways to read the epochs {first} to {last} differ in {count} values: keep"
            " READ_PATH=json until `operator-prices verify` says why."
        )


def _start_lean() -> None:
    """Begin anew as the same process with the environment `LEAN`, where that is not so already."""
    if LEAN.keys() - os.environ.keys():
        again = [sys.executable, "-c", "from operator_prices.cli.main import main; main()"]
        os.execve(sys.executable, [*again, *sys.argv[1:]], LEAN | os.environ)  # noqa: S606
