"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from operator_prices.settings import PROJECT

DEFAULT_DATA_DIR = PROJECT / ".data"

DataDir = Annotated[
    Path,
    typer.Option(envvar="DATA_DIR", help="Where embedded servers and Dagster keep their data."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL", help="The Postgres to use.", show_default="embedded in the data dir"
    ),
]
DomainId = Annotated[int, typer.Option(envvar="DOMAIN_ID", min=0, help="The domain to read.")]
