"""Writes a table as Parquet or Arrow and ends, so that Polars is not loaded where we serve."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operator_prices.web.compression import squeezer
from operator_prices.web.refusals import RefusedRequestError

if TYPE_CHECKING:
    import polars as pl

SECONDS = 60
"""How long a worker may take."""

POLITE = 5
"""How much less of the processors a worker gets than whoever serves."""

ERROR_BYTES = 2_000


class WorkerError(Exception):
    """The worker's last words."""


async def write(task: dict[str, Any]) -> None:
    """Have a process of its own write the file that `task` describes.

    `task` names the `format`, the `target`, its `coding`, and either the `rows` or the `source`, a
    CSV file with them; `columns` are pairs of a name and one of `integer` and `text`. Raises
    `WorkerError`, or `RefusedRequestError` for what takes too long.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "operator_prices.web.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "POLARS_MAX_THREADS": "2"},
    )
    try:
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate(json.dumps(task).encode())
    except TimeoutError:
        raise RefusedRequestError(
            503, f"The table was not written within {SECONDS} s: ask for fewer epochs or operators."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said[-ERROR_BYTES:].decode(errors="replace")
        raise WorkerError(f"the worker ended with {process.returncode}: {last}")


def main() -> None:
    """Do the task on standard input."""
    os.nice(POLITE)
    import polars as pl  # noqa: PLC0415 - after the nice, and not where we serve

    task = json.loads(sys.stdin.buffer.read())
    kinds = {"integer": pl.Int64(), "text": pl.String()}
    schema = pl.Schema({name: kinds[kind] for name, kind in task["columns"]})
    if "rows" in task:
        frame = pl.DataFrame(task["rows"], schema=schema, orient="row")
    else:
        frame = pl.read_csv(task["source"], has_header=False, schema=schema, raise_if_empty=False)
    _write(frame, task["format"], Path(task["target"]), task["coding"])


def _write(frame: "pl.DataFrame", form: str, target: Path, coding: str) -> None:
    import polars as pl  # noqa: PLC0415

    if form == "parquet":
        frame.write_parquet(target, compression="zstd")
        return
    # Readers of other languages do not know the views that Polars keeps text in.
    plain = pl.CompatLevel.oldest()
    if coding == "identity":
        frame.write_ipc_stream(target, compression="uncompressed", compat_level=plain)
        return
    whole = target.with_suffix(".arrow")
    try:
        frame.write_ipc_stream(whole, compression="uncompressed", compat_level=plain)
        _squeeze(whole, target, coding)
    finally:
        whole.unlink(missing_ok=True)


def _squeeze(source: Path, target: Path, coding: str) -> None:
    squeeze, finish = squeezer(coding)
    with source.open("rb") as plain, target.open("wb") as squeezed:
        while part := plain.read(2**20):
            squeezed.write(squeeze(part))
        squeezed.write(finish())


if __name__ == "__main__":
    main()
