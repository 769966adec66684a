"""What is set, from where, and without its secrets."""

from urllib.parse import urlsplit

import typer

from operator_prices.chain import Endpoint
from operator_prices.cli.console import Console
from operator_prices.cli.options import ALL, with_settings
from operator_prices.errors import ExplainedError
from operator_prices.postgres.address import described
from operator_prices.settings import VARIABLES, Settings, facts, origin, shown_default

app = typer.Typer()

HIDDEN = "(set, not shown)"


@app.command()
@with_settings(*ALL)
def settings(context: typer.Context, *, asked: Settings) -> None:
    """Show every setting: its value without secrets, and where it came from."""
    given = {name for name, text in context.params.items() if text is not None}
    Console().table(
        ("setting", "value", "from"),
        [(name.upper(), _shown(asked, name), origin(name, given)) for name in VARIABLES],
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
        if name == "alert_webhook_url":
            from operator_prices.alerts.addresses import addresses  # noqa: PLC0415

            return ", ".join(one.label for one in addresses(value))
    except ExplainedError:
        return HIDDEN
    return urlsplit(value).hostname or HIDDEN if name.startswith("celery_") else HIDDEN
