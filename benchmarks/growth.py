"""What grows with the history and with the operators, and what does not.

`python -m benchmarks.growth --epochs 50000 --operators 64 --data-dir FOLDER` loads so much (once
for a folder) and measures loading, the newest window, its checks, what schedules and sensors ask,
and the API; `--browser` the dashboard, too.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.api import MEGABYTE, milliseconds, repeated, served
from benchmarks.dashboard import visited
from benchmarks.figures import Figures
from operator_prices import store
from operator_prices.epochs.windows import EpochWindow
from operator_prices.local.postgres import embedded
from operator_prices.settings import READER
from operator_prices.store import migrations
from operator_prices.store.offenders import CHECKS, offenders
from operator_prices_tests.support import history
from operator_prices_tests.support.browser import browser

ROUTES = (
    "/api/summary",
    "/api/operators",
    "/api/epochs?limit=200",
    "/api/epochs?sample=500",
    "/api/epochs?operators=7",
    "/api/operators/7/share-prices",
)


def main() -> None:
    options = _options()
    figures = Figures("growth")
    size = f"{options.epochs:,} x {options.operators:,}"
    with ExitStack() as stack:
        folder = options.data_dir or Path(stack.enter_context(TemporaryDirectory()))
        url = stack.enter_context(embedded.server(folder))
        migrations.migrate(url)
        with store.connect(url) as connection:
            loaded(connection, options, figures, size)
            if not options.load:
                stored(connection, options.epochs - 1, figures, size)
        if not options.load:
            asked(make_conninfo(url, user=READER), figures, size)
        if options.browser:
            drawn(make_conninfo(url, user=READER), options.epochs, figures, size)
    if options.keep:
        figures.keep()


def loaded(
    connection: psycopg.Connection, options: argparse.Namespace, figures: Figures, size: str
) -> None:
    """Fill the tables, unless they are full, and bring the view up to date."""
    had = store.last_epoch(connection) + 1
    if had < options.epochs:
        begun = time.perf_counter()
        history.write(connection, had, options.epochs - 1, options.operators, raw=False)
        history.settle(connection)
        seconds = time.perf_counter() - begun
        rows = (options.epochs - had) * options.operators
        figures.say(
            f"{size}: loaded and served, per window of 100", seconds / options.epochs * 100, "s"
        )
        figures.say(f"{size}: operator rows loaded and served per second", rows / seconds)
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    figures.say(f"{size}: database", (row[0] if row else 0) / MEGABYTE, "MB")


def stored(connection: psycopg.Connection, last: int, figures: Figures, size: str) -> None:
    """What is done for the newest window, and what is asked of the whole history."""
    newest = EpochWindow.containing(last)

    def view() -> None:
        connection.execute(
            "SELECT * FROM comprehensive_analytics WHERE epoch BETWEEN %s AND %s",
            [newest.first, newest.last],
        ).fetchall()

    def checks() -> None:
        for check in sorted(CHECKS.glob("*.sql")):
            offenders(connection, check.stem, newest)

    for what, work in (
        ("the newest window refreshed again", lambda: store.refresh_analytics(connection, newest)),
        ("the view of the newest window", view),
        ("all checks of the newest window", checks),
        ("what the sensor asks every tick", lambda: store.unserved(connection, last)),
        ("what the daily schedule asks", lambda: store.all_lacking(connection, last)),
    ):
        figures.say(f"{size}: {what}", 1000 * seconds_of(work), "ms")


def seconds_of(work: Callable[[], object]) -> float:
    """Median wall seconds of five times."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return median(times)


def asked(url: str, figures: Figures, size: str) -> None:
    with served(url, API_CACHE_BYTES="0") as server:
        for path in ROUTES:
            took = milliseconds([reply.last_byte for reply in repeated(server.port, path, 5)])
            figures.say(f"{size}: {path}", took, "ms")
        replies = repeated(server.port, "/api/epochs", 2)
        bytes_of_all = f"{replies[0].size / MEGABYTE:.0f} MB"
        took = milliseconds([reply.last_byte for reply in replies])
        figures.say(f"{size}: all epochs, last byte", took, "ms", baseline=bytes_of_all)
        figures.say(f"{size}: peak memory of the API", server.peak(), "MB", 85)


def drawn(url: str, epochs: int, figures: Figures, size: str) -> None:
    with served(url) as server, browser() as chromium:
        seen = visited(chromium, f"http://127.0.0.1:{server.port}/", warm=False, epochs=epochs)
        for name in ("first chart", "all epochs"):
            carried = f"{seen[f'{name}, kB']:,.0f} kB"
            figures.say(f"{size}: dashboard, {name}", seen[f"{name}, ms"], "ms", baseline=carried)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=50_000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument("--data-dir", type=Path, help="keep the loaded database here")
    parser.add_argument("--load", action="store_true", help="load, and nothing else")
    parser.add_argument("--browser", action="store_true", help="draw the dashboard as well")
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    return parser.parse_args()


if __name__ == "__main__":
    main()
