"""The options that commands share, made from the settings, and their exit codes."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from operator_prices.settings import VARIABLES, Settings, shown_default

INCOMPLETE = 3
"""The exit code when something could not be understood and is in quarantine."""


DATABASE = ("data_dir", "database_url")
NODE = (*DATABASE, "archive_node_url", "domain_id")
API = ("api_port", "api_database_url", "cors_origins", "read_path")
ALL = (*NODE, "ui_port", *API)

Command = Callable[..., None]


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command an option for each of these settings; it gets them as its `asked`.

    An option that is left out leaves the word to the environment, and then to the default.
    """
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_of_setting(name))
        for name in names
    ]

    def declare(command: Command) -> Command:
        own = [one for one in signature(command).parameters.values() if one.name != "asked"]

        @wraps(command)
        def run(**given: Any) -> None:  # noqa: ANN401 - whatever the command's own options are
            asked = Settings.read(**{name: given.pop(name) for name in names})
            command(asked=asked, **given)

        run.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*own, *options]}
        return run

    return declare


def _of_setting(name: str) -> object:
    shown = shown_default(name).replace("`", "")
    return Annotated[str | None, typer.Option(help=VARIABLES[name].description, show_default=shown)]


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
