"""Dagster's pages as a person sees them, in Debian's Chromium.

`python -m operator_prices_tests.support.dagster_pages docs/images` takes the pictures of the
documentation.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from playwright.sync_api import Page, sync_playwright

from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.live import Live, until, up

ASSET = "operator_share_prices"

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
"""A browser that is there already; none is downloaded."""

WINDOWS = ["000000-000099", "000100-000199", "000200-000299"]

CHAIN = Scenario(epochs=240, operators=6, seconds_per_block=0)


@contextmanager
def opened() -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(60_000)
        yield page
        chromium.close()


def tour(live: Live, page: Page, windows: Sequence[str], folder: Path) -> None:
    """Launch a backfill of one asset over all `windows`, watch it end, look at what it did."""
    partitions = f"{live.url}/assets/{ASSET}?view=partitions"
    page.goto(partitions)
    page.get_by_role("button", name="Materialize").first.click()
    launch = page.get_by_role("button", name="Launch backfill")
    confirm = page.get_by_role("button", name="Confirm")
    launch.or_(confirm).first.wait_for()
    if confirm.count():  # what is imported from the old system is upstream, and need not be there
        confirm.click()
    # Not by the menu of partitions, which a busy page closes after the first choice.
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_text(f"{len(windows)} partitions", exact=True).wait_for()
    shoot(page, folder / "dagster-launch.png")
    launch.click()
    page.get_by_text("Launch runs to materialize").wait_for(state="hidden")
    newest = (
        "{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id } } } }"
    )
    (backfill,) = live.ask(newest)["partitionBackfillsOrError"]["results"]
    page.goto(f"{live.url}/runs/b/{backfill['id']}")
    page.get_by_text("100% completed").wait_for(timeout=120_000)
    shoot(page, folder / "dagster-backfill.png")
    page.goto(f"{partitions}&partition={windows[0]}")
    page.get_by_text("changed_rows").first.wait_for()
    shoot(page, folder / "dagster-partition.png")
    page.goto(f"{live.url}/assets/{ASSET}?view=checks")
    page.get_by_text("price_is_a_price").first.wait_for()
    shoot(page, folder / "dagster-checks.png")
    page.goto(f"{live.url}/assets/{ASSET}?view=lineage")
    page.get_by_text("comprehensive_analytics").first.wait_for()
    shoot(page, folder / "dagster-graph.png")


def execute_all_checks(live: Live, page: Page) -> None:
    """Press the button above the checks of an asset."""
    page.goto(f"{live.url}/assets/{ASSET}?view=checks")
    page.get_by_role("button", name="Execute all").first.click()


def shoot(page: Page, file: Path) -> None:
    """A picture of what has settled."""
    page.wait_for_timeout(2_000)
    page.screenshot(path=file)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        serving(CHAIN) as node,
        up(Path(mkdtemp(prefix="pages-")), node.url) as live,
        opened() as page,
    ):
        tour(live, page, WINDOWS, folder)
        until(lambda: all(run["status"] == "SUCCESS" for run in live.runs()), 60)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
