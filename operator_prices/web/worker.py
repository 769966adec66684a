"""Writes a table as Parquet or Arrow and ends, so that Polars is not loaded where we serve."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

import psycopg

from operator_prices.postgres import working

if TYPE_CHECKING:
    import polars as pl

PART = 256 * 2**10

ERROR_BYTES = 2_000


LOST = 75
"""The exit code of a worker that lost the database: the same may go well later."""


class WorkerError(Exception):
    """The worker's last words."""


async def written(task: dict[str, Any], dsn: str) -> AsyncGenerator[bytes, None]:
    """The file that a worker of its own writes for `task`, in parts.

    `task` names the `format`, and either the `rows` or the `copy` statement to read them and the
    statement for the `snapshot` to read them in; `columns` are pairs of a name and one of `integer`
    and `text`. Raises `WorkerError`, and `psycopg.OperationalError` for a database that was lost.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "operator_prices.web.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "API_DATABASE_URL": dsn},
        limit=2 * PART,
    )
    if not (process.stdin and process.stdout and process.stderr):
        raise WorkerError("the worker has no pipes")
    try:
        process.stdin.write(json.dumps(task).encode())
        process.stdin.close()
        while part := await process.stdout.read(PART):
            yield part
        if code := await process.wait():
            said = (await process.stderr.read(ERROR_BYTES)).decode(errors="replace")
            if code == LOST:
                raise psycopg.OperationalError(said.strip())
            raise WorkerError(f"the worker ended with {code}: {said}")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def main() -> None:
    """Do the task on standard input; the file goes to standard output once it is whole."""
    import polars as pl  # noqa: PLC0415

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what lies on the disk is removed first
    task = json.loads(sys.stdin.buffer.read())
    kinds = {"integer": pl.Int64(), "text": pl.String()}
    schema = pl.Schema({name: kinds[kind] for name, kind in task["columns"]})
    with TemporaryDirectory() as folder:
        if "rows" in task:
            frame = pl.DataFrame(task["rows"], schema=schema, orient="row")
        else:
            path = os.path.join(folder, "rows.csv")  # noqa: PTH118
            try:
                _read(task, path)
            except psycopg.OperationalError as error:
                print(error, file=sys.stderr)  # noqa: T201
                sys.exit(LOST)
            frame = pl.read_csv(path, has_header=False, schema=schema, raise_if_empty=False)
        target = os.path.join(folder, "table")  # noqa: PTH118
        with open(target, "wb") as file:  # noqa: PTH123
            _write(frame, task["format"], file)
        with open(target, "rb") as file:  # noqa: PTH123
            while part := file.read(PART):
                sys.stdout.buffer.write(part)


def _read(task: dict[str, Any], path: str) -> None:
    connection = working.connect(
        os.environ["API_DATABASE_URL"],
        application_name="operator-prices worker",
        prepare_threshold=None,  # a pooler may have another session for each statement
    )
    with (
        connection,
        connection.transaction(),
        connection.cursor() as cursor,
        open(path, "wb") as file,  # noqa: PTH123
    ):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(task["snapshot"])
        with cursor.copy(task["copy"]) as rows:
            file.writelines(rows)


def _write(frame: "pl.DataFrame", form: str, file: BinaryIO) -> None:
    if form == "parquet":
        frame.write_parquet(file, compression="zstd")
    else:
        frame.write_ipc_stream(file, compression="uncompressed")


if __name__ == "__main__":
    main()
