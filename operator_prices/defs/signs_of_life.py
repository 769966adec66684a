"""A run tells that it lives, from its own process; who does not is given up and run again."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

import dagster as dg
import psutil
import psycopg

from operator_prices import VERSION, store
from operator_prices.defs.partitions import UNFINISHED
from operator_prices.defs.rounds import EVERY_ROUND
from operator_prices.postgres.parts import application_name
from operator_prices.store import signs
from operator_prices.store.signs import EVERY_SECONDS, SILENT_SECONDS, FencedConnection, Sign

WORKER = "worker"
"""The tag that says who works on a run: host, launcher, and what is known of its life."""

LOCATION = ".dagster/repository"
"""The tag by which Dagster says from which code location a run was asked for."""


PRIORITY = "dagster/priority"
"""The tag by which Dagster sorts its queue; what is run again keeps the tags of the lost run."""

GIVEN_UP = "this run is given up"
"""What the report of a lost run says."""

COMMAND_LINE = "command line"
"""The launcher, and the tag `source`, of runs in the process of a command."""


COMMANDS_RUNS = dg.RunsFilter(tags={"source": COMMAND_LINE}, statuses=list(UNFINISHED))


@contextmanager
def connected(dsn: str, context: dg.InitResourceContext) -> Iterator[psycopg.Connection]:
    """The database, for a run that gives signs of life meanwhile; for anybody else without.

    A run that only this process knows of gives none: nobody could take it over.
    """
    run, instance = context.run, context.instance
    if run is None or instance is None or instance.is_ephemeral:
        with store.connect(dsn) as connection:
            yield connection
        return
    launched = run.remote_job_origin is not None
    launcher = type(instance.run_launcher).__name__ if launched else COMMAND_LINE
    host = socket.gethostname()
    with ExitStack() as after, store.connect(dsn, FencedConnection) as connection:
        signs.begin(
            connection, run.run_id, host=host, launcher=launcher, process=process_identity()
        )
        connection.run_id = run.run_id
        after.callback(_end, dsn, run.run_id)  # once the connection is given up for another one
        life = f"version {VERSION}, a sign of life every {EVERY_SECONDS} s"
        instance.add_run_tags(run.run_id, {WORKER: f"{host}, {launcher}, {life}"})
        with giving_signs(dsn, run.run_id):
            yield connection


@contextmanager
def giving_signs(dsn: str, run_id: str) -> Iterator[None]:
    """Give signs of a run that has begun, as long as it is at work."""
    stop = Event()
    name = application_name()
    connect = partial(
        psycopg.connect, dsn, autocommit=True, application_name=name, **signs.PATIENCE
    )
    thread = Thread(
        target=signs.renew_until, args=(stop, connect, run_id), name="sign of life", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _end(dsn: str, run_id: str) -> None:
    with store.connect(dsn) as connection:
        signs.end(connection, run_id)


@dg.sensor(
    description="Report runs that give no sign of life as failed, so that others take them over.",
    minimum_interval_seconds=EVERY_ROUND,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def lost_runs(
    context: dg.SensorEvaluationContext, database: dg.ResourceParam[psycopg.Connection]
) -> dg.SkipReason:
    """Report runs without a sign of life as failed; a slow run gives signs and is left alone."""
    unfinished = context.instance.get_runs(filters=dg.RunsFilter(statuses=list(UNFINISHED)))
    started = [run for run in unfinished if run.status == dg.DagsterRunStatus.STARTED]
    known = signs.look(database, [run.run_id for run in started if _is_ours(context, run)])
    left = {run.run_id for run in unfinished}
    silent = [
        sign
        for sign in known
        if (sign.run_id in left if sign.given_up else sign.silence >= SILENT_SECONDS)
    ]
    given_up = [sign for sign in silent if take_away(context.instance, database, sign)]
    alive = [sign for sign in known if not sign.given_up and sign not in given_up]
    others = [sign for sign in alive if sign.version not in {"", VERSION}]
    for sign in others:
        _note_version(context.instance, sign)
    told = [*map(_lost, given_up), *sorted({*map(_of_another_version, others)})]
    return dg.SkipReason("; ".join(told) or f"{len(alive)} runs give signs of life")


def take_away(
    instance: dg.DagsterInstance, database: psycopg.Connection, sign: Sign, why: str | None = None
) -> bool:
    """Report a run that is not over as failed, and free its slots; whether that was to be done."""
    run = instance.get_run_by_id(sign.run_id)
    if run is None or run.is_finished:
        if not sign.given_up:
            signs.forget(database, sign.run_id)
        return False
    if not signs.give_up(database, sign):
        return False
    why = why or _lost(sign)
    first_in_queue = {} if PRIORITY in run.tags else {PRIORITY: "1"}
    instance.add_run_tags(run.run_id, {WORKER: why, **first_in_queue})
    instance.report_run_failed(run, f"{why[0].upper()}{why[1:]}: {GIVEN_UP}.")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return True


def close_orphans(
    instance: dg.DagsterInstance, database: psycopg.Connection, *, ours: bool = False
) -> None:
    """Give up at once the runs of processes of this machine that are gone.

    With `ours` those of this process, too: it works on one at a time, and on none when it asks.
    """
    for sign in signs.all_signs(database):
        if _is_gone(sign.process) or (ours and sign.process == process_identity()):
            take_away(
                instance, database, sign, f"the process on host {sign.host} was killed, or cut off"
            )
    for run in instance.get_runs(COMMANDS_RUNS):
        process = run.tags.get(WORKER, "")
        if "@" in process and (_is_gone(process) or (ours and process == process_identity())):
            instance.report_run_failed(run, f"Its process was killed at its start: {GIVEN_UP}.")


def command_tags() -> dict[str, str]:
    """The tags of a run that this process begins, until the run gives signs of life itself."""
    return {"source": COMMAND_LINE, WORKER: process_identity()}


def process_identity() -> str:
    """Our process, told apart from those of other machines and containers and of later days.

    >>> _is_gone(process_identity())
    False
    """
    process = psutil.Process()
    return f"{_machine()}/{process.pid}@{process.create_time():.2f}"


def _machine() -> str:
    """Where the number of a process means one process."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.exists():
        return socket.gethostname()
    return f"{boot.read_text().strip()}/{space.stat().st_ino}"


def _is_gone(process: str) -> bool:
    """Whether a process of this machine has ended; another one may have its number by now."""
    machine, _, identity = process.rpartition("/")
    if machine != _machine():
        return False
    number, _, created = identity.partition("@")
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" != created
    except psutil.NoSuchProcess:
        return True


def _is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether a run is of this code location: one of another gives no signs."""
    known = context.code_location_origin
    here = None if known is None else f"{context.repository_name}@{known.location_name}"
    return run.tags.get(LOCATION, "of a command") == here or run.tags.get("source") == COMMAND_LINE


def _note_version(instance: dg.DagsterInstance, sign: Sign) -> None:
    """Have the run itself say, once, that its worker has another version than we have."""
    run, told = instance.get_run_by_id(sign.run_id), _of_another_version(sign)
    if run is not None and told not in run.tags.get(WORKER, ""):
        instance.add_run_tags(run.run_id, {WORKER: f"{run.tags.get(WORKER, sign.host)}; {told}"})


def _of_another_version(sign: Sign) -> str:
    return (
        f"host {sign.host} works with version {sign.version} of operator-prices, and the code"
        f" server has {VERSION}: install the same on both"
    )


def _lost(sign: Sign) -> str:
    who = f"host {sign.host} ({sign.launcher})" if sign.host else "whichever host it is on"
    return f"{who} has given no sign of life for {sign.silence:.0f} s"
