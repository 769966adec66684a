"""Options and exit codes that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from operator_prices.settings import PROJECT

DEFAULT_DATA_DIR = PROJECT / ".data"

INCOMPLETE = 3
"""The exit code when something could not be understood and is in quarantine."""

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="DATA_DIR",
        resolve_path=True,
        help="Where embedded servers and Dagster keep their data.",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL", help="The Postgres to use.", show_default="embedded in the data dir"
    ),
]
DomainId = Annotated[int, typer.Option(envvar="DOMAIN_ID", min=0, help="The domain to read.")]
NodeUrl = Annotated[
    str | None,
    typer.Option(
        envvar="ARCHIVE_NODE_URL",
        help="The archive node to read; several, separated by commas, stand in for each other.",
        show_default="the development chain",
    ),
]
UiPort = Annotated[int, typer.Option(envvar="UI_PORT", help="The port of the Dagster UI.")]
ApiPort = Annotated[
    int, typer.Option(envvar="API_PORT", help="The port of the API and the dashboard.")
]
ApiDatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="API_DATABASE_URL",
        help="The same Postgres for the API, with the role operator_prices_reader.",
        show_default="that of DATABASE_URL",
    ),
]
CorsOrigins = Annotated[
    str | None,
    typer.Option(
        envvar="CORS_ORIGINS",
        help="Sites whose pages may ask the API, separated by commas.",
        show_default="none",
    ),
]
ReadPath = Annotated[
    str | None,
    typer.Option(
        envvar="READ_PATH",
        help="How /api/epochs reads unless asked otherwise: `tables`, or `json` as of old.",
        show_default="tables",
    ),
]
FirstEpoch = Annotated[int, typer.Option("--from", min=0, help="The first epoch.")]
LastEpoch = Annotated[str, typer.Option("--to", help="The last epoch, or `latest`.")]


def last_epoch(text: str, first: int) -> int | None:
    """The last epoch of a range; None stands for the last completed one."""
    if text == "latest":
        return None
    if not text.isdecimal() or int(text) < first:
        raise typer.BadParameter(
            f"{text!r} is neither `latest` nor an epoch from {first} on", param_hint="--to"
        )
    return int(text)
