"""Whether alerts arrive."""

import typer

from operator_prices.cli.console import Console
from operator_prices.errors import ExplainedError
from operator_prices.settings import Settings

app = typer.Typer()


class NobodyToTellError(ExplainedError):
    """No address is set."""


@app.command("alert-test")
def alert_test() -> None:
    """Send a test alert to each address of ALERT_WEBHOOK_URL, and say which took it."""
    from operator_prices.alerts.addresses import addresses  # noqa: PLC0415
    from operator_prices.alerts.messages import Message  # noqa: PLC0415
    from operator_prices.alerts.refusals import RefusedError  # noqa: PLC0415

    settings = Settings.read()
    told = addresses(settings.alert_webhook_url)
    if not told:
        raise NobodyToTellError(
            "ALERT_WEBHOOK_URL is not set, so nobody is told of trouble: set it as docs/alerts.md"
            " shows."
        )
    console = Console()
    test = Message(
        "Test: alerts of operator-prices arrive here",
        "Sent by `operator-prices alert-test`; nothing has happened.",
        settings.ui_url,
    )
    refused = False
    for address in told:
        try:
            address.send(test)
        except RefusedError as error:
            refused = True
            console.say(f"refused  {address.label}: {error.why}")
        else:
            console.say(f"taken    {address.label}")
    if refused:
        raise typer.Exit(1)
