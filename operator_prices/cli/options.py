"""The options that commands share, made from the settings, and their exit codes."""

from typing import Annotated, Any

import typer

from operator_prices.settings import VARIABLES, shown_default

INCOMPLETE = 3
"""The exit code when something could not be understood and is in quarantine."""


def of_setting(name: str) -> Any:  # noqa: ANN401 - what typer takes
    """The option of a setting; left out, the environment and then the default have the word."""
    return typer.Option(
        help=VARIABLES[name].description, show_default=shown_default(name).replace("`", "")
    )


DataDir = Annotated[str | None, of_setting("data_dir")]
DatabaseUrl = Annotated[str | None, of_setting("database_url")]
DomainId = Annotated[str | None, of_setting("domain_id")]
NodeUrl = Annotated[str | None, of_setting("archive_node_url")]
UiPort = Annotated[str | None, of_setting("ui_port")]
ApiPort = Annotated[str | None, of_setting("api_port")]
ApiDatabaseUrl = Annotated[str | None, of_setting("api_database_url")]
CorsOrigins = Annotated[str | None, of_setting("cors_origins")]
ReadPath = Annotated[str | None, of_setting("read_path")]

NoBackup = Annotated[
    bool,
    typer.Option("--no-backup", help="Write no backup of the data before migrations are applied."),
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
