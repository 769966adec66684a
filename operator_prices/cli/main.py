"""The command line: what can be asked for, and how each answer ends."""

import sys
import traceback
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer

from operator_prices import store
from operator_prices.cli import alerting, configured, moving, naming, publishing
from operator_prices.cli.console import Console
from operator_prices.cli.options import (
    ALL,
    API,
    DATABASE,
    INCOMPLETE,
    NODE,
    FirstEpoch,
    LastEpoch,
    NoBackup,
    last_epoch,
    with_settings,
)
from operator_prices.errors import ExplainedError
from operator_prices.local.database import migrated_database, upgrade, usable_database
from operator_prices.local.node import HISTORY, usable_node
from operator_prices.local.ports import require_port_free
from operator_prices.local.signals import stoppable
from operator_prices.postgres import troubles
from operator_prices.settings import SettingError, Settings
from operator_prices.store import migrations, signs

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""
The share prices of Autonomys operators, epoch by epoch, from an archive node to Postgres.

Each option has an environment variable of the same name (`UI_PORT` for `--ui-port`); `settings`
shows them all. Every command works by itself: it uses the database and the node that its settings
name, else the ones embedded in the data directory, which it starts for as long as it needs them.

Exit codes: **0** done, **1** it could not be done and one sentence says why, **2** a wrong option,
**3** done, but some values could not be understood and are in quarantine (`import-legacy` says so
only with `--strict`), **130** interrupted.
""",
)
app.add_typer(naming.app, name="operators")
app.add_typer(moving.app)
app.add_typer(configured.app)
app.add_typer(publishing.app)
app.add_typer(alerting.app)


@app.command()
@with_settings(*ALL)
def up(
    *,
    asked: Settings,
    once: Annotated[bool, typer.Option("--once", help="Exit after the summary.")] = False,
    no_backup: NoBackup = False,
) -> None:
    """Start everything, fill the tables, serve the Dagster UI and the dashboard until Ctrl-C."""
    from operator_prices.cli import up as everything  # noqa: PLC0415

    if not everything.up(asked, Console(), once=once, backup=not no_backup):
        raise typer.Exit(INCOMPLETE)


@app.command()
@with_settings(*DATABASE, *API)
def serve(*, asked: Settings) -> None:
    """Serve the API and the dashboard alone, until Ctrl-C."""
    from operator_prices.local import api, exposure  # noqa: PLC0415

    require_port_free(asked.api_host, asked.api_port, "API_PORT")
    for warning in exposure.warnings(asked, ui=False):
        Console().say(warning)
    if asked.api_database_url is not None:
        raise typer.Exit(api.run(asked, embedded=False))
    with migrated_database(asked, session=False) as stored:
        raise typer.Exit(api.run(stored, embedded=asked.database_url is None))


@app.command()
@with_settings(*NODE)
def worker(*, asked: Settings) -> None:
    """Take runs from a Celery broker, beside other machines, until SIGTERM and their end."""
    from operator_prices.runs import celery_worker  # noqa: PLC0415

    celery_worker.work(asked)


@app.command()
@with_settings(*DATABASE)
def migrate(
    *,
    asked: Settings,
    no_backup: NoBackup = False,
) -> None:
    """Apply the migrations that the database lacks; readers of old tables are not stopped."""
    with usable_database(asked) as settings:
        done = upgrade(settings, backup=not no_backup)
    Console().upgraded(done)


@app.command()
@with_settings(*DATABASE)
def rollback(*, asked: Settings) -> None:
    """Take all migrations back: what was there before is there again, what was added is gone."""
    with usable_database(asked) as settings:
        taken = migrations.rollback(str(settings.database_url))
    Console().say(f"Taken back: {', '.join(taken) or 'nothing, no migration was applied'}")


@app.command()
@with_settings(*NODE)
def backfill(
    *,
    asked: Settings,
    first: FirstEpoch,
    last: LastEpoch,
    counts: Annotated[
        bool,
        typer.Option(
            "--counts", help="Count deposits, withdrawals and bundles too: many requests."
        ),
    ] = False,
    assets: Annotated[
        str | None,
        typer.Option(
            help="Only these assets, separated by commas: without `raw_epochs` what is stored is"
            " parsed again and no epoch is read.",
            show_default="all",
        ),
    ] = None,
    no_backup: NoBackup = False,
) -> None:
    """Run the windows that hold these epochs; only missing or incomplete epochs are read."""
    from operator_prices.runs.backfill import backfill_range, count_entries  # noqa: PLC0415

    final = last_epoch(last, first)
    console = Console()
    with usable_database(asked) as stored:
        console.upgraded(upgrade(stored, backup=not no_backup), quiet=True)
        with usable_node(stored) as settings:
            done = backfill_range(
                settings, first, final, _assets(assets), progress=console.progress
            )
            counted = count_entries(settings, first, final) if counts else None
    console.backfilled(done)
    if counted is not None:
        console.say(f"Counted the deposits, withdrawals and bundles of {counted} epochs")
    if done.incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command("verify-chain")
@with_settings(*NODE)
def verify_chain(
    *,
    asked: Settings,
    first: FirstEpoch = 0,
    last: LastEpoch = "latest",
) -> None:
    """Recheck stored block hashes against the chain; read again the epochs whose block it lost."""
    from operator_prices.runs.backfill import recheck_range  # noqa: PLC0415

    final = last_epoch(last, first)
    console = Console()
    with migrated_database(asked) as stored, usable_node(stored) as settings:
        left, done = recheck_range(settings, first, final, progress=console.progress)
    console.rechecked(left, done)
    if done.incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command()
@with_settings(*NODE)
def status(*, asked: Settings) -> None:
    """Show the chain's head, what is completed, stored and missing, and who is at work."""
    from operator_prices.runs.chain import chain_extent  # noqa: PLC0415

    with (
        migrated_database(asked) as stored,
        usable_node(stored) as settings,
        store.connect(str(settings.database_url)) as connection,
    ):
        known = [sign for sign in signs.all_signs(connection) if not sign.given_up]
        console = Console()
        console.status(*chain_extent(settings), store.summary(connection), known)
        console.unprotected(migrations.unprotected(str(settings.database_url)))


@app.command()
def devchain(
    *,
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 9944,
    epochs: Annotated[int, typer.Option(help="History to begin with.")] = HISTORY,
    operators: Annotated[int, typer.Option(help="Operators over the whole history.")] = 8,
    seed: Annotated[int, typer.Option(help="Another seed is another chain.")] = 1,
    seconds_per_block: Annotated[float, typer.Option(help="Pace of new blocks, 0 for none.")] = 0.5,
    metadata: Annotated[
        Path | None, typer.Option(help="V14 metadata to serve instead of our own.")
    ] = None,
    nominators: Annotated[int, typer.Option(help="A crowd that stakes as well.")] = 0,
    acting_per_mille: Annotated[
        int, typer.Option(help="How many of a thousand of it act in an epoch.")
    ] = 10,
    latency: Annotated[float, typer.Option(help="Milliseconds before each answer.")] = 0,
) -> None:
    """Serve the development chain by itself, until Ctrl-C."""
    from operator_prices.devchain.__main__ import main as serve  # noqa: PLC0415

    chosen = {
        "--port": port,
        "--epochs": epochs,
        "--operators": operators,
        "--seed": seed,
        "--seconds-per-block": seconds_per_block,
        "--nominators": nominators,
        "--acting-per-mille": acting_per_mille,
        "--latency": latency,
        "--metadata": metadata,
    }
    arguments = [str(part) for pair in chosen.items() if pair[1] is not None for part in pair]
    raise typer.Exit(serve(arguments))


def main() -> None:
    """Run the command line; whatever goes wrong ends in one sentence and an exit code."""
    console = Console()
    try:
        with stoppable():
            app()
    except SettingError as error:
        console.complain(str(error))
        sys.exit(2)
    except ExplainedError as error:
        console.complain(" ".join(str(error).split()))
        sys.exit(1)
    except KeyboardInterrupt:
        console.complain("Stopped.")
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the edge: the details go to a file, not to the user
        if trouble := troubles.lost(error):
            console.complain(f"{trouble[0].upper()}{trouble[1:]}.")
            sys.exit(1)
        log = _kept(traceback.format_exc())
        console.complain(
            f"{type(error).__name__}: {' '.join(str(error).split())} (this should not happen; the"
            f" details are in {log})"
        )
        sys.exit(1)


def _assets(text: str | None) -> list[str] | None:
    """The names in a list of assets, all of which must exist."""
    from operator_prices.defs.catalog import INGESTED  # noqa: PLC0415

    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in INGESTED]:
        raise typer.BadParameter(
            f"{', '.join(map(repr, unknown))} is none of {', '.join(INGESTED)}",
            param_hint="--assets",
        )
    return names


def _kept(details: str) -> Path:
    with NamedTemporaryFile("w", prefix="operator-prices-", suffix=".log", delete=False) as log:
        log.write(details)
    return Path(log.name)
