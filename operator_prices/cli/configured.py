"""What is set, from where, and without its secrets."""

from urllib.parse import urlsplit

import typer

from operator_prices.chain import ChainError, Endpoint
from operator_prices.cli.console import Console
from operator_prices.cli.options import (
    ApiDatabaseUrl,
    ApiPort,
    CorsOrigins,
    DatabaseUrl,
    DataDir,
    DomainId,
    NodeUrl,
    ReadPath,
    UiPort,
)
from operator_prices.postgres.address import described
from operator_prices.settings import VARIABLES, Settings, facts, origin, shown_default

app = typer.Typer()

HIDDEN = "(set, not shown)"


@app.command()
def settings(
    *,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    archive_node_url: NodeUrl = None,
    domain_id: DomainId = None,
    ui_port: UiPort = None,
    api_port: ApiPort = None,
    api_database_url: ApiDatabaseUrl = None,
    cors_origins: CorsOrigins = None,
    read_path: ReadPath = None,
) -> None:
    """Show every setting: its value without secrets, and where it came from."""
    read = Settings.read(
        data_dir=data_dir,
        database_url=database_url,
        archive_node_url=archive_node_url,
        domain_id=domain_id,
        ui_port=ui_port,
        api_port=api_port,
        api_database_url=api_database_url,
        cors_origins=cors_origins,
        read_path=read_path,
    )
    Console().table(
        ("setting", "value", "from"),
        [(name.upper(), _shown(read, name), origin(read, name)) for name in VARIABLES],
    )


def _shown(read: Settings, name: str) -> str:
    value = getattr(read, name)
    if value in {None, ()}:
        return shown_default(name).replace("`", "")
    return _without_secrets(name, value) if facts(name).get("secret") else str(value)


def _without_secrets(name: str, value: str) -> str:
    """What of a value can be told: of an address the place, of a header nothing."""
    try:
        if name.endswith("database_url"):
            return described(value)
        if name == "archive_node_url":
            return ", ".join(map(str, Endpoint.parse_all(value)))
    except ChainError:
        return HIDDEN
    return urlsplit(value).hostname or HIDDEN if name == "alert_webhook_url" else HIDDEN
