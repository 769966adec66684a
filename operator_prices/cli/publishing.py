"""Opening the published tables to the roles of others, and closing them again."""

from typing import Annotated

import typer

from operator_prices.cli.console import Console
from operator_prices.cli.options import DATABASE, with_settings
from operator_prices.local.database import migrated_database
from operator_prices.settings import Settings
from operator_prices.store import publication

app = typer.Typer()


@app.command()
@with_settings(*DATABASE)
def publish(
    *,
    asked: Settings,
    to: Annotated[
        list[str] | None, typer.Option(help="A role that may read; may be said several times.")
    ] = None,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Close them again, to all or to those of --to.")
    ] = False,
) -> None:
    """Open the published tables for reading to a role, such as `anon` of Supabase's REST API."""
    if not (to or revoke):
        raise typer.BadParameter("say --to ROLE, --revoke or both")
    console = Console()
    with migrated_database(asked) as settings:
        dsn = str(settings.database_url)
        if revoke:
            withdrawn = publication.withdraw(dsn, to or [])
            console.say(f"Closed to: {', '.join(withdrawn) or 'nobody, to whom it was open'}")
            return
        for role in to or []:
            tables = publication.publish(dsn, role)
            console.say(f"Open to {role} for reading: {', '.join(tables)}")
