"""The import from the command line: which windows a source has, run one by one."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from operator_prices import store
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.quarantine import in_quarantine, quarantine_misplaced
from operator_prices.legacy.sources import IN_PLACE, open_source, source_name
from operator_prices.legacy.staging import silent, staged
from operator_prices.legacy.tables import left_out
from operator_prices.local import dagster_home
from operator_prices.local.postgres import programs
from operator_prices.runs.windows import import_windows
from operator_prices.settings import Settings

SOURCE_VARIABLE = "LEGACY_SOURCE"
"""What hands a run the URL of a source: Dagster keeps the configuration of every run."""


@dataclass(slots=True)
class ImportedSource:
    """What the import of a source came to."""

    source: str
    windows: int = 0
    windows_done_before: int = 0
    rows: int = 0
    epochs: int = 0
    operators: int = 0
    prices: int = 0
    changed_epochs: int = 0
    changed_prices: int = 0
    foreign: int = 0
    """Of all imports, each price and each operator once."""
    quarantined: int = 0
    """Of all windows of the source, those that were imported before included."""
    reasons: Sequence[tuple[str, str, int, int | None]] = ()
    """Item, reason, how many, and the first epoch with one."""
    touched: set[str] = field(default_factory=set)
    found: Mapping[str, int] = field(default_factory=dict)
    """Rows and pieces that are none, by form, of a source that had to be read first."""
    forms: dict[str, list[int]] = field(default_factory=dict)
    """By form: rows of the windows run now, of them understood, and what is in quarantine."""
    passed_over: Mapping[str, str] = field(default_factory=dict)
    """Files of a folder that are of no form, and why."""

    def add(self, said: dict[str, object]) -> None:
        """Add what the run of one window says."""
        self.windows += 1
        if said["already_done"]:
            self.windows_done_before += 1
        for name in (
            "rows",
            "epochs",
            "operators",
            "prices",
            "changed_epochs",
            "changed_prices",
        ):
            setattr(self, name, getattr(self, name) + int(str(said[name])))
        forms = said["forms"]
        for form, counts in (forms if isinstance(forms, dict) else {}).items():
            before = self.forms.setdefault(form, [0, 0, 0])
            self.forms[form] = [sum(pair) for pair in zip(before, counts, strict=True)]
        touched = said["touched"]
        if isinstance(touched, list):
            self.touched.update(map(str, touched))


Progress = Callable[
    [Sequence[EpochWindow]],
    AbstractContextManager[Callable[[EpochWindow, dict[str, object]], None]],
]


def import_source(
    settings: Settings,
    place: str,
    *,
    keep_raw: bool,
    reduce: bool,
    progress: Progress,
    reading: Callable[[int], None] = silent,
) -> ImportedSource:
    """Import all windows of the source at `place`, in ascending order.

    A source that must be read first tells `reading` after each row how many there were.

    Windows that are done are passed over; other windows of which a price becomes known on the way
    are run once more. Raises `UnusableSourceError`, `OtherDomainError`, `RunFailedError`.
    """
    folder = settings.data_dir / "staging"
    with staged(place, folder, lambda: programs.binaries() / "pg_restore", reading) as source:
        done = ImportedSource(
            source_name(place), found=source.forms, passed_over=source.passed_over
        )
        how = {"domain_id": settings.domain_id, "keep_raw": keep_raw, "reduce": reduce}
        windows = _import_staged(settings, source.place, done, how, progress)
    span = (windows[0].first, windows[-1].last) if windows else (0, -1)
    with store.connect(str(settings.database_url)) as database:
        done.reasons = in_quarantine(database, *span)
        done.quarantined = sum(count for _, _, count, _ in done.reasons)
        done.foreign = left_out(database)
    return done


def _import_staged(
    settings: Settings,
    place: str,
    done: ImportedSource,
    how: Mapping[str, object],
    progress: Progress,
) -> list[EpochWindow]:
    """Run the windows of a source that can be opened, and add to `done` what they say."""
    place = str(Path(place).resolve()) if place != IN_PLACE and "://" not in place else place
    with (
        store.connect(str(settings.database_url)) as database,
        open_source(place, database) as source,
    ):
        windows = source.windows()
        quarantine_misplaced(database, source)
    if "://" in place:
        os.environ[SOURCE_VARIABLE] = place
    config = {"source": {"env": SOURCE_VARIABLE} if "://" in place else place, **how}
    with dagster_home.opened_instance(settings) as dagster, progress(windows) as tell:
        for window, said in import_windows(dagster, windows, config):
            done.add(said)
            tell(window, said)
        again = [EpochWindow.parse(key) for key in sorted(done.touched)]
        for _ in import_windows(dagster, again, config):
            pass
    return windows
