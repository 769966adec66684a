"""Import a legacy database of 5,000 epochs x 64 operators: seconds, rows a second, peak memory.

    python -m benchmarks.legacy [--epochs 5000] [--operators 64] [--forms]

Beside it, in the same run: the floors (reading the file, decoding its JSON), the rate at which
snapshots are understood, and the old way (one statement per row) over the first epochs. With
`--forms` the same rows in every form instead: rows a second and peak memory of reading each into a
staged file.
"""

import argparse
import csv
import gzip
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

import orjson
import psycopg
import zstandard

from benchmarks.figures import Figures
from operator_prices.chain.substrate import keys
from operator_prices.epochs.windows import between
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row
from operator_prices.legacy.sqlite_files import SqliteSource
from operator_prices.legacy.staging import staged
from operator_prices.local.postgres import embedded, programs

SECONDS, MEGABYTES = 60, 300
"""What the import may take."""

FORM_MEGABYTES = 400
"""What reading a form may take, whatever its size."""

UNDERSTOOD = 100_000
"""Operator rows a second that are to be understood."""

BASELINE_EPOCHS = 100

LAYOUT = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp INTEGER NOT NULL,
  data TEXT NOT NULL,
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_epochs_epoch ON epochs(epoch);
CREATE INDEX idx_epochs_timestamp ON epochs(timestamp);
"""

figures = Figures("legacy")


def main() -> int:
    """Make the database, import it, print the figures; 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5_000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        return _stage(asked.stage)
    with TemporaryDirectory(prefix="operator-prices-benchmark-") as folder:
        Path(folder).chmod(0o755)
        measure = _measure_forms if asked.forms else _measure
        status = measure(Path(folder), asked.epochs, asked.operators)
    if asked.keep:
        figures.keep()
    return status


def _measure(folder: Path, epochs: int, operators: int) -> int:
    file = folder / "legacy.db"
    make(file, epochs, operators)
    rows = epochs * operators
    figures.tell("legacy database", f"{file.stat().st_size / 1e6:.0f} MB, {epochs:,} x {operators}")

    read = _timed(lambda: sum(len(text) for text in _texts(file)))
    figures.tell("floor: reading the file", f"{read:.1f} s")
    decoded = _timed(lambda: [orjson.loads(text) and None for text in _texts(file)])
    figures.tell("floor: reading and decoding", f"{decoded:.1f} s")
    understood = _timed(lambda: _understand(file, epochs))
    rate = rows / understood
    figures.tell(
        "understanding", f"{understood:.1f} s, {rate:,.0f} operator rows/s (bound {UNDERSTOOD:,})"
    )

    data_dir = folder / "data"
    with embedded.server(data_dir) as url:
        baseline = _timed(lambda: _old_way(file, url))
        one_by_one = min(BASELINE_EPOCHS, epochs) * operators / baseline
        figures.tell("baseline: one statement a row", f"{one_by_one:,.0f} operator rows/s")
        seconds, megabytes = _imported(file, data_dir)
        with psycopg.connect(url) as connection:
            counted = connection.execute(
                "SELECT (SELECT count(*) FROM epochs), (SELECT count(*) FROM operator_shares),"
                " (SELECT count(*) FROM operator_share_prices WHERE source = 'epochs_json'),"
                " (SELECT count(*) FROM quarantine)"
            ).fetchone()
    figures.tell(
        "import", f"{seconds:.1f} s (bound {SECONDS}), {rows / seconds:,.0f} operator rows/s"
    )
    figures.tell("peak memory of the import", f"{megabytes:.0f} MB (bound {MEGABYTES})")
    whole = counted == (epochs, rows, rows - operators, 0)
    figures.tell("rows", f"{counted} {'as they should be' if whole else 'WRONG'}")
    quick = rate >= UNDERSTOOD and (epochs > 5_000 or seconds <= SECONDS)  # noqa: PLR2004
    bounded = quick and megabytes <= MEGABYTES
    return 0 if whole and bounded else 1


def _measure_forms(folder: Path, epochs: int, operators: int) -> int:
    """Each form by itself: written, then read in a process of its own."""
    file = folder / "legacy.db"
    make(file, epochs, operators)
    whole = True
    for name, write in FORMS.items():
        form = folder / "form"
        with sqlite3.connect(file) as connection, form.open("wb") as target:
            write(connection.execute(ROWS), target)
        connection.close()
        seconds, megabytes, ended = _run_alone(
            [sys.executable, "-m", "benchmarks.legacy", "--stage", str(form)], os.environ.copy()
        )
        size = form.stat().st_size / 1e6
        figures.tell(
            name, f"{size:.0f} MB, {epochs / seconds:,.0f} rows/s, peak {megabytes:.0f} MB"
        )
        whole = whole and ended and megabytes <= FORM_MEGABYTES
    return 0 if whole else 1


def _stage(file: Path) -> int:
    with (
        TemporaryDirectory(prefix="operator-prices-benchmark-") as folder,
        staged(str(file), Path(folder), lambda: programs.binaries() / "pg_restore") as source,
    ):
        return 0 if sum(source.forms.values()) else 1


Rows = Iterator[tuple[int, int, str, int, str]]

ROWS = "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs ORDER BY epoch"
NAMES = ("epoch", "end_block", "end_hash", "timestamp", "data")


def _json_list(rows: Rows, target: BinaryIO) -> None:
    target.writelines(
        (b"," if number else b"[") + line for number, line in enumerate(_objects(rows, parsed=True))
    )
    target.write(b"]")


def _json_lines(rows: Rows, target: BinaryIO) -> None:
    target.writelines(line + b"\n" for line in _objects(rows, parsed=False))


def _objects(rows: Rows, *, parsed: bool) -> Iterator[bytes]:
    for row in rows:
        told: dict[str, object] = dict(zip(NAMES, row, strict=True))
        yield orjson.dumps(told | {"data": orjson.loads(row[-1])} if parsed else told)


def _gzip_list(rows: Rows, target: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as packed:
        _json_list(rows, cast("BinaryIO", packed))


def _zstd_lines(rows: Rows, target: BinaryIO) -> None:
    with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as packed:
        for line in _objects(rows, parsed=False):
            packed.write(line + b"\n")


def _csv(rows: Rows, target: BinaryIO) -> None:
    text = io.TextIOWrapper(target, newline="", write_through=True)
    csv.writer(text).writerows([NAMES])
    csv.writer(text).writerows(rows)
    text.detach()


def _copy(rows: Rows, target: BinaryIO) -> None:
    target.write(b"COPY public.epochs (epoch, end_block, end_hash, timestamp, data) FROM stdin;\n")
    target.writelines(
        "\t".join(map(str, row)).replace("\\", "\\\\").encode() + b"\n" for row in rows
    )
    target.write(b"\\.\n")


def _insert(rows: Rows, target: BinaryIO) -> None:
    for epoch, block, hash_, time_, data in rows:
        values = f"{epoch},{block},'{hash_}',{time_},'{data}'"
        target.write(f"INSERT INTO epochs VALUES({values});\n".encode())


def _first_generation(rows: Rows, target: BinaryIO) -> None:
    """As many epochs, each with what the first generation told."""
    for number, (epoch, block, hash_, _, data) in enumerate(rows):
        summary = orjson.loads(data)["domainStakingSummary"]
        stakes = {key: told.replace(",", "") for key, told in summary["currentOperators"].items()}
        item = {
            "domainId": 0,
            "epoch": epoch,
            "startBlock": block - 116,
            "startHash": hash_,
            "endBlock": block,
            "endHash": hash_,
            "operatorStakes": stakes,
            "totalStake": summary["currentTotalStake"].replace(",", ""),
            "rewards": dict.fromkeys(stakes, "1000000000000000000"),
            "operatorSharePrices": {key: str(10**36 // (10**18 - epoch)) for key in stakes},
        }
        target.write((b"," if number else b"[") + orjson.dumps(item))
    target.write(b"]")


FORMS: dict[str, Callable[[Rows, BinaryIO], None]] = {
    "JSON list": _json_list,
    "JSON list, gzip": _gzip_list,
    "JSON lines": _json_lines,
    "JSON lines, zstd": _zstd_lines,
    "JSON of the first generation": _first_generation,
    "CSV": _csv,
    "SQL dump with COPY": _copy,
    "SQL dump with INSERT": _insert,
}


def make(file: Path, epochs: int, operators: int) -> None:
    """A file as the old script wrote it, but each snapshot tells one epoch's prices alone."""
    with sqlite3.connect(file) as connection:
        connection.executescript(LAYOUT)
        connection.executemany(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (?, ?, ?, ?, ?)",
            (_row(random.Random(epoch), epoch, operators) for epoch in range(epochs)),  # noqa: S311
        )
    connection.close()


def _row(dice: random.Random, epoch: int, operators: int) -> tuple[int, int, str, int, str]:
    end_hash = f"0x{dice.getrandbits(256):064x}"
    stakes = {operator: dice.randrange(10**22, 10**25) for operator in range(operators)}
    rewards = {operator: dice.randrange(10**17, 10**20) for operator in range(operators)}
    operator_key = keys.prefix("Domains", "Operators")
    price_key = keys.prefix("Domains", "OperatorEpochSharePrice")
    entries = [
        f"{operator_key}{keys.u64(operator)},"
        + json.dumps(
            {
                "signingKey": f"0x{dice.getrandbits(256):064x}",
                "currentDomainId": 0,
                "nextDomainId": 0,
                "minimumNominatorStake": f"0x{10**18:032x}",
                "nominationTax": operator % 20,
                "currentTotalStake": f"0x{stake:032x}",
                "currentTotalShares": f"0x{stake - stake // 1000:032x}",
                "partialStatus": {"registered": None},
                "depositsInEpoch": f"0x{10**19:032x}",
                "withdrawalsInEpoch": 0,
                "totalStorageFeeDeposit": f"0x{stake // 4:032x}",
            },
            separators=(",", ":"),
        )
        for operator, stake in stakes.items()
    ]
    prices = [
        f"{price_key}{keys.u64(operator)}{keys.u32(0)}{keys.u32(epoch - 1)},"
        f"{dice.randrange(9 * 10**17, 10**18)}"
        for operator in (range(operators) if epoch else ())
    ]
    data = {
        "epoch": epoch,
        "endBlock": 100 + 117 * epoch,
        "endHash": end_hash,
        "timestamp": 1_795_350_592_524 + epoch,
        "domainStakingSummary": {
            "currentEpochIndex": str(epoch),
            "currentTotalStake": f"{sum(stakes.values()):,}",
            "currentOperators": {str(key): f"{value:,}" for key, value in stakes.items()},
            "nextOperators": [str(key) for key in stakes],
            "currentEpochRewards": {str(key): f"{value:,}" for key, value in rewards.items()},
        },
        "accumulatedTreasuryFunds": "0",
        "domainChainRewards": "0",
        "totalStorageFeeDeposit": "0",
        "totalStake": "0",
        "totalShares": "0",
        "deposits": {"count": 0, "entries": []},
        "withdrawals": {"count": 0, "entries": []},
        "successfulBundles": {"count": 0, "entries": []},
        "operatorEpochSharePrice": _section(prices),
        "operators": _section(entries),
    }
    return epoch, 100 + 117 * epoch, end_hash, 1_795_350_592_532 + epoch, json.dumps(data)


def _section(values: list[str]) -> dict[str, object]:
    entries = [{"key": [str(index)], "value": value} for index, value in enumerate(values)]
    return {"count": len(values), "entries": entries}


def _texts(file: Path) -> Iterator[str]:
    with sqlite3.connect(file) as connection:
        yield from (text for (text,) in connection.execute("SELECT data FROM epochs"))
    connection.close()


def _understand(file: Path, epochs: int) -> None:
    connection = sqlite3.connect(file)
    source = SqliteSource("benchmark", connection)
    for window in between(0, epochs - 1):
        reader = Reader(0)
        for row in source.rows(window):
            reader.read(row)
    connection.close()


def _old_way(file: Path, url: str) -> None:
    """One upsert for each operator of each row, decoded by the standard library."""
    with psycopg.connect(url) as connection, sqlite3.connect(file) as source:
        connection.execute(
            "CREATE TEMP TABLE baseline (epoch INTEGER, operator_id INTEGER, shares NUMERIC,"
            " PRIMARY KEY (epoch, operator_id))"
        )
        query = "SELECT * FROM epochs ORDER BY epoch LIMIT ?"
        for told in source.execute(query, [BASELINE_EPOCHS]):
            row = Row(*told[:5])
            for entry in json.loads(str(row.data))["operators"]["entries"]:
                key, _, body = entry["value"].partition(",")
                operator = int.from_bytes(bytes.fromhex(key[66:]), "little")
                shares = int(json.loads(body)["currentTotalShares"], 16)
                connection.execute(
                    "INSERT INTO baseline VALUES (%s, %s, %s) ON CONFLICT (epoch, operator_id)"
                    " DO UPDATE SET shares = excluded.shares",
                    [row.epoch, operator, shares],
                )
    source.close()


def _imported(file: Path, data_dir: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of `operator-prices import-legacy` in a process of its own."""
    seconds, megabytes, ended = _run_alone(
        [
            *(sys.executable, "-c", "from operator_prices.cli.main import main; main()"),
            *("import-legacy", str(file)),
        ],
        os.environ | {"DATA_DIR": str(data_dir), "DATABASE_URL": ""},
    )
    if not ended:
        raise RuntimeError("the import failed: run it by itself to see why")
    return seconds, megabytes


def _run_alone(command: list[str], environment: dict[str, str]) -> tuple[float, float, bool]:
    """Seconds and peak megabytes of a process, and whether it ended well."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    per_megabyte = 1e6 if sys.platform == "darwin" else 1e3
    return seconds, usage.ru_maxrss / per_megabyte, os.waitstatus_to_exitcode(status) == 0


def _timed(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
