"""What a person at a terminal sees: sentences, progress, and tables of figures."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

if TYPE_CHECKING:
    from operator_prices.chain import Head, Reach
    from operator_prices.epochs.windows import EpochWindow
    from operator_prices.legacy.read_paths import Difference
    from operator_prices.local.database import Upgraded
    from operator_prices.runs.backfill import Backfilled
    from operator_prices.runs.legacy import ImportedSource
    from operator_prices.runs.windows import WindowRun
    from operator_prices.store import Summary
    from operator_prices.store.parity import Finding
    from operator_prices.store.signs import Sign

MOST_LISTED = 10
"""As many of a long list are named; the rest is counted."""


class Console:
    """Results go to standard output, progress and complaints to standard error."""

    def __init__(self) -> None:
        self._out = rich.console.Console(highlight=False, soft_wrap=True)
        self._err = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        self._out.print(sentence, markup=False)

    def complain(self, sentence: str) -> None:
        self._err.print(sentence, markup=False)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Rows of text below their head, in columns that nothing is cut from."""
        shown = Table(*(Column(name, overflow="fold") for name in head), box=None)
        for row in rows:
            shown.add_row(*row)
        self._out.print(shown, markup=False)

    @contextmanager
    def progress(self, windows: Sequence["EpochWindow"]) -> Iterator[Callable[["WindowRun"], None]]:
        """Show how far a backfill of `windows` is: a bar on a terminal, else a line a window."""
        if not windows or not self._err.is_terminal:
            yield lambda run: self.complain(
                f"window {run.window.key}: {run.epochs_read} epochs read,"
                f" {sum(run.changed_rows.values())} rows changed"
            )
            return
        bar = Progress(
            TextColumn("Backfill"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("windows, {task.fields[epochs]} epochs read"),
            TimeElapsedColumn(),
            console=self._err,
        )
        task, read = bar.add_task("", total=len(windows), epochs=0), count_from(0)
        with bar:
            yield lambda run: bar.update(task, advance=1, epochs=read(run.epochs_read))

    def upgraded(self, done: "Upgraded", *, quiet: bool = False) -> None:
        """Which migrations were applied, and what of rights and row security was not right."""
        if done.applied or not quiet:
            self.say(f"Applied: {', '.join(done.applied) or 'nothing, the database is up to date'}")
        for finding in done.put_right:
            self.say(f"Put right: {finding}")
        for finding in done.not_right:
            self.say(f"Not right: {finding}; the tables' owner or an administrator can change it")

    def unprotected(self, findings: Sequence[str]) -> None:
        """What of rights and row-level security is not as it should be."""
        for finding in findings:
            self.say(f"Not right: {finding}")
        if findings:
            self.say("Run `operator-prices migrate` as the tables' owner: it puts this right.")

    def backfilled(self, done: "Backfilled") -> None:
        """What a backfill did, and what it could not understand."""
        rows = ", ".join(f"{asset} {rows}" for asset, rows in done.changed_rows.items()) or "none"
        self.say(f"Epochs read: {done.epochs_read} in {done.rpc_calls} requests")
        self.say(f"Changed rows: {sum(done.changed_rows.values())} ({rows})")
        if done.differing:
            self.say(
                f"Imported epochs that ended in another block than their snapshot says:"
                f" {len(done.differing):,}, {_listed([str(epoch) for epoch in done.differing])};"
                " what the node tells stands instead, and table legacy_hashes has both hashes"
            )
        self._incomplete(done.incomplete)

    def rechecked(self, left: Sequence[int], done: "Backfilled") -> None:
        """Which stored epochs had left the chain, and what re-reading them changed."""
        self.say(f"Epochs whose block left the chain: {_listed([str(epoch) for epoch in left])}")
        if left:
            self.backfilled(done)

    def reading(self, *, every: float = 5) -> Callable[[int], None]:
        """Tell how many rows of a source have been read, every few seconds."""
        told = time.monotonic()

        def tell(rows: int) -> None:
            nonlocal told
            if time.monotonic() - told >= every:
                told = time.monotonic()
                self.complain(f"reading the source: {rows:,} rows")

        return tell

    @contextmanager
    def import_progress(
        self, windows: Sequence["EpochWindow"]
    ) -> Iterator[Callable[["EpochWindow", dict[str, object]], None]]:
        """Show how far an import of `windows` is: a bar on a terminal, else a line a window."""
        if not windows or not self._err.is_terminal:
            yield lambda window, said: self.complain(
                f"window {window.key}: "
                + (
                    "imported before"
                    if said["already_done"]
                    else f"{said['epochs']} of {said['rows']} rows, {said['prices']} prices,"
                    f" {said['quarantined']} in quarantine"
                )
            )
            return
        bar = Progress(
            TextColumn("Import"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("windows, {task.fields[epochs]} epochs"),
            TimeElapsedColumn(),
            console=self._err,
        )
        task, read = bar.add_task("", total=len(windows), epochs=0), count_from(0)
        with bar:
            yield lambda _, said: bar.update(task, advance=1, epochs=read(int(str(said["epochs"]))))

    def imported(self, done: "ImportedSource") -> None:
        """What an import did, and what it could not understand."""
        if not (done.windows or done.quarantined):
            self.say(f"{done.source} has no rows to import.")
            return
        self.say(f"Imported from {done.source}")
        self.say(
            f"Windows: {done.windows}, of which {done.windows_done_before} were imported before"
        )
        self.say(f"Rows: {done.rows:,} read, {done.epochs:,} understood")
        self.say(f"Operators: {done.operators:,} entries; prices: {done.prices:,} told")
        if done.foreign:
            self.say(f"Left out, of other domains: {done.foreign:,}")
        self.say(f"Changed rows: {done.changed_epochs:,} epochs, {done.changed_prices:,} prices")
        self._forms(done)
        self.say(f"In quarantine: {done.quarantined:,}")
        for item, reason, count, epoch in done.reasons[:MOST_LISTED]:
            where = "" if epoch is None else f", first in epoch {epoch}"
            self.say(f"  {count:,} x {item} {reason}{where}")
        if len(done.reasons) > MOST_LISTED:
            more = len(done.reasons) - MOST_LISTED
            self.say(f"  and {more} more kinds; all are in table quarantine")

    def _forms(self, done: "ImportedSource") -> None:
        for form in sorted(done.found.keys() | done.forms.keys()):
            rows, understood, odd = done.forms.get(form, (0, 0, 0))
            found = done.found.get(form, rows)
            self.say(
                f"  {form}: {found:,} found; {rows:,} read now, {understood:,} of them understood,"
                f" {odd:,} values in quarantine"
            )
        for file, reason in done.passed_over.items():
            self.say(f"  Passed over: {file} {reason}")

    def findings(self, findings: Sequence["Finding"]) -> None:
        """What there is, and of each check whether it passed."""
        for finding in findings:
            if finding.is_check:
                self.say(f"{'passed' if finding.passed else 'FAILED'}: {finding.name}")
            if finding.rows and not finding.is_check:
                self._finding(finding, len(finding.rows))
            elif finding.rows:
                self._finding(finding, MOST_LISTED)

    def _finding(self, finding: "Finding", shown: int) -> None:
        table = Table(*finding.columns)
        for row in finding.rows[:shown]:
            table.add_row(*("" if value is None else str(value)[:80] for value in row))
        self._out.print(table)
        if len(finding.rows) > shown:
            self.say(f"and {len(finding.rows) - shown} more")

    def differences(self, differences: Iterable["Difference"]) -> int:
        """Every difference in a line of its own; return how many."""
        count = 0
        for one in differences:
            count += 1
            self.say(f"epoch {one.epoch} {one.name}: tables {one.tables}, json {one.json}")
        self.say(f"Differences: {count}")
        return count

    def summary(self, stored: "Summary", done: "Backfilled", *, seconds: float) -> None:
        """The end of `up`: what there is now, what there never will be, and how long it took."""
        if done.never_had:
            self.say(done.never_had)
        self._stored(stored)
        self.say(
            f"Read {done.epochs_read} epochs in {done.rpc_calls} requests, changed"
            f" {sum(done.changed_rows.values())} rows, in {seconds:.1f} seconds"
        )

    def status(
        self, head: "Head", reach: "Reach", stored: "Summary", known: "Sequence[Sign]"
    ) -> None:
        """How far the chain is, how far we are, and who is at work."""
        self.say(f"Head: block {head.best_block}, completed up to block {head.gate_block}")
        if head.late is not None:
            self.say(head.late)
        self.say(f"Last completed epoch: {_or_none(head.last_completed_epoch)}")
        if reach.first_epoch > 0:
            self.say(
                f"The node has nothing before block {reach.first_block}: epochs before"
                f" {reach.first_epoch} need an archive node, one that was synced from the first"
                " block and runs with --state-pruning archive --blocks-pruning archive"
            )
        self._stored(stored)
        if head.last_completed_epoch is not None:
            behind = head.last_completed_epoch - (
                -1 if stored.last_epoch is None else stored.last_epoch
            )
            self.say(f"Behind the chain: {max(0, behind)} epochs")
        for sign in known:
            who = (
                f"host {sign.host} ({sign.launcher}, version {sign.version or 'not told'})"
                if sign.host
                else "a host that is not known"
            )
            self.say(f"Run {sign.run_id[:8]} on {who} gave a sign of life {sign.age:.0f} s ago")

    def _stored(self, stored: "Summary") -> None:
        span = f" ({stored.first_epoch} to {stored.last_epoch})" if stored.epochs else ""
        self.say(f"Epochs: {stored.epochs}{span}, operators: {stored.operators}")
        gaps = [f"{first}" if first == last else f"{first}-{last}" for first, last in stored.gaps]
        self.say(f"Gaps: {_listed(gaps)}")
        if stored.skipped:
            self.say(f"Skipped by the chain: {stored.skipped}")
        self._incomplete(stored.incomplete)
        table = Table("table", Column("rows", justify="right"))
        for name, rows in stored.rows.items():
            table.add_row(name, f"{rows:,}")
        self._out.print(table)

    def _incomplete(self, epochs: Sequence[int]) -> None:
        if epochs:
            self.say(
                f"Incomplete: {_listed([str(epoch) for epoch in epochs])}; what could not be"
                " understood is in table quarantine, with its reason"
            )


def count_from(start: int) -> Callable[[int], int]:
    """A running total.

    >>> add = count_from(1)
    >>> add(2), add(3)
    (3, 6)
    """
    total = start

    def add(number: int) -> int:
        nonlocal total
        total += number
        return total

    return add


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_LISTED
    return (", ".join(names[:MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")) or "none"


def _or_none(number: int | None) -> str:
    return "none" if number is None else str(number)
