"""What people may say of operators."""

import re
from typing import Annotated

import typer

from operator_prices import store
from operator_prices.cli.console import Console
from operator_prices.cli.options import DATABASE, with_settings
from operator_prices.errors import ExplainedError
from operator_prices.local.database import migrated_database
from operator_prices.settings import Settings

app = typer.Typer(no_args_is_help=True, help="What people may say of operators.")


class UnknownOperatorError(ExplainedError):
    """An operator that no stored epoch shows."""


@app.command("set")
@with_settings(*DATABASE)
def set_operator(
    operator_id: Annotated[int, typer.Argument(min=0, metavar="ID")],
    *,
    asked: Settings,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    color: Annotated[str | None, typer.Option(help="How charts draw it, as #rrggbb.")] = None,
) -> None:
    """Name an operator and choose its colour; the pipeline never overwrites either."""
    if name is None and color is None:
        raise typer.BadParameter("say --name, --color or both")
    if color is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise typer.BadParameter(f"{color!r} is no colour like #1f77b4", param_hint="--color")
    with (
        migrated_database(asked) as settings,
        store.connect(str(settings.database_url)) as connection,
    ):
        if not store.name_operator(connection, operator_id, name, color):
            raise UnknownOperatorError(
                f"Operator {operator_id} is in no stored epoch: backfill an epoch that has it,"
                " or correct the id."
            )
    Console().say(f"Operator {operator_id} is set.")
