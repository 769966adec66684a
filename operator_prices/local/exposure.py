"""What becomes reachable from other machines, said before it is."""

from collections.abc import Iterator

from operator_prices.local.ports import is_reachable_from_elsewhere
from operator_prices.settings import Settings


def warnings(settings: Settings, *, ui: bool) -> Iterator[str]:
    """A sentence for each server that others will reach; `ui` if the Dagster UI is served, too."""
    if is_reachable_from_elsewhere(settings.api_host):
        yield (
            f"The API and the dashboard listen on {settings.api_host}, port {settings.api_port}:"
            " whoever reaches this machine can read all prices, and change nothing."
        )
    if ui and is_reachable_from_elsewhere(settings.ui_host):
        yield (
            f"The Dagster UI listens on {settings.ui_host}, port {settings.ui_port}, and asks"
            " nobody for a password: whoever reaches this machine can launch and delete runs, and"
            " read their logs. Put a proxy before it that asks who comes."
        )
