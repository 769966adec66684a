"""The figures of the benchmarks: said while they come, kept, and shown as the README's table.

`python -m benchmarks.figures` writes the table anew from what is kept.
"""

import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
KEPT, README = HERE / "figures.json", HERE / "README.md"

HEAD = """# Benchmarks

Each row was written by the command that it names, run with `--keep`; a baseline was measured in
the same run. Trust ratios more than seconds: the machine may have had other work.
`python -m benchmarks.figures` writes this page anew from `figures.json`.

| what | figure | baseline in the same run | target | command | date, UTC | machine |
|---|---:|---:|---:|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure as the table shows it."""

    what: str
    figure: str
    baseline: str
    target: str
    command: str
    date: str
    machine: str


@dataclass(slots=True)
class Figures:
    """What a benchmark has measured so far; `met` says of each target whether it was."""

    benchmark: str
    met: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def say(
        self,
        what: str,
        value: float,
        unit: str = "",
        at_most: float | None = None,
        *,
        at_least: float | None = None,
        baseline: str = "",
    ) -> None:
        """Print a figure beside its target or its baseline, and note it for the table."""
        target = verdict = ""
        if at_most is not None:
            target, held = f"≤ {shown(at_most)}", value <= at_most
        elif at_least is not None:
            target, held = f"≥ {shown(at_least)}", value >= at_least
        if target:
            self.met.append(held)
            verdict = f"  ({target}: {'met' if held else 'MISSED'})"
        figure = f"{shown(value)} {unit}".strip()
        print(f"{what:<62}{figure:>16}{verdict}{f'  [{baseline}]' if baseline else ''}", flush=True)
        self.rows.append(Row(what, figure, baseline, target, command(), today(), machine()))

    def say_times(self, what: str, seconds: Sequence[float], at_most: float | None = None) -> None:
        """Say the worst of several times, whose target it is, and the median."""
        self.say(f"{what}, worst of {len(seconds)}", max(seconds), "s", at_most)
        self.say(f"{what}, median of {len(seconds)}", statistics.median(seconds), "s")

    def tell(self, what: str, figure: str) -> None:
        """Print and note what is no single number."""
        print(f"{what:<62}{figure}", flush=True)
        self.rows.append(Row(what, figure, "", "", command(), today(), machine()))

    def keep(self) -> None:
        """Put the rows into the table, in the place of earlier ones of the same name."""
        kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
        of_ours = kept.setdefault(self.benchmark, {})
        of_ours |= {row.what: asdict(row) for row in self.rows}
        KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
        write_table()


def shown(value: float) -> str:
    """A number with three digits that say something.

    >>> shown(12345.6), shown(123.4), shown(12.34), shown(1.5), shown(0.0)
    ('12,346', '123', '12.3', '1.5', '0')
    """
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def command() -> str:
    """How this process was started."""
    module = Path(sys.argv[0]).stem
    given = [argument for argument in sys.argv[1:] if argument != "--keep"]
    return shlex.join(["python", "-m", f"benchmarks.{module}", *given])


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    """What kind of machine this is and how much it does; its name is nobody's business."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kind = f"{os.cpu_count()} cores {platform.machine()}, {memory:.0f} GB"
    return f"{kind}, Python {platform.python_version()}, load {os.getloadavg()[0]:.0f}"


def write_table() -> None:
    """Write the README from what is kept."""
    kept = json.loads(KEPT.read_text("utf-8"))
    rows = [Row(**row) for of_one in kept.values() for row in of_one.values()]
    README.write_text(HEAD + "".join(map(line, rows)), "utf-8")


def line(row: Row) -> str:
    """A row as a line of the table."""
    cells = [row.what, row.figure, row.baseline, row.target, f"`{row.command}`", row.date]
    return f"| {' | '.join([*cells, row.machine])} |\n"


if __name__ == "__main__":
    write_table()
