"""Follow the chain: when epochs are completed, ask for their windows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import sleep, time

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.chain import Chain, NodeBehindError
from operator_prices.defs.jobs import ingest_epochs
from operator_prices.defs.node_reach import remembered_reach, to_be_had
from operator_prices.defs.partitions import busy_windows, epoch_windows, remove_strangers
from operator_prices.defs.rounds import EVERY_ROUND
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.settings import Settings

WINDOWS_A_TICK = 10
"""After a long downtime the sensor catches up in steps: so many windows of its own are under way at
most. Those of a backfill do not count, or whoever follows the chain would wait for its end."""

LOOKS_APART = 2.5
"""Seconds after which a tick looks once more: half a round of Dagster's sensors."""

DUE = 0.75
"""Of the blocks of the epoch before, as many have come when the next one may end at any moment."""

OVERDUE = 2
"""After so many times the blocks of the epoch before, it is waited for no more."""

FIRST_PAUSE, LONGEST_PAUSE = 30, 3600
"""Seconds to wait after a run that did not bring what it was asked for, doubled each time."""

SOURCE = "completed_epochs"
"""What the tag `source` of the sensor's runs says."""

RUN_KEY = "dagster/run_key"
"""The tag by which Dagster keeps the key of a request; ours says which epoch it was made for."""


@dataclass(frozen=True, slots=True)
class Tries:
    """The runs of one window that were asked for the epoch that is still wanted of it."""

    count: int = 0
    latest: str = "none"
    """Id of the newest run of the window, whatever it was asked for."""
    ended: float = 0
    """When that run ended, in seconds of Unix time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A window to run, the epoch it is wanted for, and a key that no other request has."""

    window: EpochWindow
    until: int
    run_key: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What the decision is made from."""

    wanted: Mapping[EpochWindow, int]
    """The last epoch that each window behind the chain lacks, in the order in which to ask."""
    now: float
    busy: frozenset[EpochWindow] = frozenset()
    """The windows that runs are queued or at work for, whoever asked for them."""
    ours: int = 0
    """How many of them this sensor has asked for."""
    tries: Callable[[EpochWindow, int], Tries] = lambda *_: Tries()
    """What became of the runs for an epoch of a window; asked only for windows that may come up."""


def wanted(unserved: Iterable[int], of_nominators: Iterable[int] = ()) -> dict[EpochWindow, int]:
    """The last unserved epoch of each window that has any, oldest window first.

    Then the windows that lack nobody but the nominators of some epochs: no price waits for these.
    """
    behind = {EpochWindow.containing(epoch): epoch for epoch in sorted(unserved)}
    later = {EpochWindow.containing(epoch): epoch for epoch in sorted(of_nominators)}
    return behind | {window: until for window, until in later.items() if window not in behind}


def to_ask_for(situation: Situation) -> list[Asked]:
    """The windows to run now, in order, so that at most `WINDOWS_A_TICK` of ours are under way.

    A window that a run is under way for is left to it. One whose run has ended without bringing the
    epoch is asked for again, after a pause that doubles; the run key says after which run, because
    Dagster never runs the same key twice, not even when the run failed.
    """
    return list(islice(_due(situation), max(0, WINDOWS_A_TICK - situation.ours)))


def _due(situation: Situation) -> Iterator[Asked]:
    for window, until in situation.wanted.items():
        if window in situation.busy:
            continue
        tries = situation.tries(window, until)
        pause = min(FIRST_PAUSE * 2 ** (tries.count - 1), LONGEST_PAUSE) if tries.count else 0
        if situation.now >= tries.ended + pause:
            yield Asked(window, until, f"{asked_for(window, until)}{tries.latest}")


def asked_for(window: EpochWindow, until: int) -> str:
    """How the run keys of all requests for an epoch begin."""
    return f"{window.key}@{until} after "


@dg.sensor(
    job=ingest_epochs,
    description="Request one run for each window with completed epochs that are not served yet.",
    minimum_interval_seconds=EVERY_ROUND,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def completed_epochs(
    context: dg.SensorEvaluationContext,
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the windows of completed epochs; partitions that are no windows are removed.

    Windows that lack what the node never had are left out. When an epoch is due the tick looks
    twice, so that whoever waits for it waits for half a round at most.
    """
    if strangers := remove_strangers(context.instance):
        context.log.warning("Removed partitions that are no windows: %s", ", ".join(strangers))
    seen = look(chain, database, options)
    if seen.is_due:
        sleep(LOOKS_APART)
        seen = look(chain, database, options)
    latest = seen.latest
    if latest is None:
        return dg.SkipReason("no epoch is completed yet")
    if not seen.unserved and not seen.of_nominators:
        return dg.SkipReason(f"epoch {latest} is still the last one completed")
    reach = remembered_reach(context, chain, str(options.archive_node_url))
    read = store.from_chain(database, seen.unserved)
    behind = wanted(to_be_had(seen.unserved, reach, read), to_be_had(seen.of_nominators, reach))
    if not behind:
        return dg.SkipReason(
            f"up to epoch {latest} nothing is lacking but windows with epochs before"
            f" {reach.first_epoch}, which the node never had: its first block is"
            f" {reach.first_block}"
        )
    busy = busy_windows(context.instance)
    asked = to_ask_for(
        Situation(
            wanted=behind,
            now=time(),
            busy=busy,
            ours=len(busy_windows(context.instance, {"source": SOURCE})),
            tries=partial(tries_of, context.instance),
        )
    )
    if not asked:
        return dg.SkipReason(f"runs are under way, or waited for, up to epoch {latest}")
    begun = [window.key for window in between(0, latest)]
    return dg.SensorResult(
        dynamic_partitions_requests=[epoch_windows.build_add_request(begun)],
        run_requests=[request(one) for one in asked],
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """How far the chain is, and what is lacking up to there."""

    latest: int | None
    """The last completed epoch."""
    unserved: Sequence[int] = ()
    of_nominators: Sequence[int] = ()
    """The epochs up to there that lack nominators, if these are followed."""
    is_due: bool = False
    """Whether nothing is lacking, and the next epoch may be completed at any moment."""


def look(chain: Chain, database: psycopg.Connection, options: Settings) -> Seen:
    head = chain.head()
    latest = head.last_completed_epoch
    require_not_behind(latest, store.last_epoch(database, source="chain"))
    if latest is None:
        return Seen(None)
    follows = options.nominators == "on"
    unserved = store.unserved(database, until=latest)
    of_nominators = store.unserved(database, until=latest, nominators=True) if follows else []
    if unserved or of_nominators:
        return Seen(latest, unserved, of_nominators)
    return Seen(latest, is_due=is_due(store.newest_ends(database), head.gate_block))


def is_due(ends: Sequence[int], gate: int) -> bool:
    """Whether an epoch may end at any moment, `ends` being the end blocks of the two before it.

    One that is as late again is waited for no more: the chain has stopped closing epochs.

    >>> [is_due([300, 200], gate) for gate in (374, 375, 499, 500)], is_due([300], 400)
    ([False, True, True, False], False)
    """
    last, *before = ends or [gate]
    length = last - before[0] if before else 0
    return DUE * length <= gate - last < OVERDUE * length


def require_not_behind(completed: int | None, stored: int) -> None:
    """Raise `NodeBehindError` where the node has not completed what was read from a node before."""
    if stored > (-1 if completed is None else completed):
        raise NodeBehindError(
            f"The node has completed {'no epoch' if completed is None else f'epoch {completed}'},"
            f" and epoch {stored} is stored: it is behind or syncing; wait until it has caught up,"
            " or use another node."
        )


def request(asked: Asked) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=asked.run_key,
        partition_key=asked.window.key,
        tags={"source": SOURCE},
    )


def tries_of(instance: dg.DagsterInstance, window: EpochWindow, until: int) -> Tries:
    """What became of the newest runs that were asked for to have an epoch of a window."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=ingest_epochs.name, tags={"dagster/partition": window.key}),
        limit=10,
    )
    if not records:
        return Tries()
    keys = [one.dagster_run.tags.get(RUN_KEY, "") for one in records]
    same = [key for key in keys if key.startswith(asked_for(window, until))]
    newest = records[0]
    return Tries(len(same), newest.dagster_run.run_id, newest.end_time or 0)
