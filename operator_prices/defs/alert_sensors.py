"""Trouble reports itself: runs, checks and the distance to the chain become incidents."""

from collections.abc import Iterator

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.alerts.addresses import addresses
from operator_prices.alerts.telling import tell
from operator_prices.chain import Chain, ChainError, NodeBehindError
from operator_prices.defs.failures import failed_step_cause
from operator_prices.defs.parity_checks import PARITY
from operator_prices.defs.partitions import known_windows, windows_of_run
from operator_prices.defs.rounds import EVERY_OTHER_ROUND
from operator_prices.defs.sensors import require_not_behind
from operator_prices.defs.signs_of_life import GIVEN_UP
from operator_prices.settings import Settings
from operator_prices.store import events, incidents, signs
from operator_prices.store.incidents import BEHIND, EVENT, Incident

RETRIED = "dagster/will_retry"
"""The tag of a failed run that Dagster runs again by itself."""

NODE, LATE, LAG = "node", "late", "lag"
"""The incidents that there is only one of, as there is of `BEHIND`."""

TOLD = {"slashed", "status", "gone", "taxRaised", "ownerChanged", "priceStill"}
"""The events that somebody who has staked must know of; the others are in the feeds alone."""


@dg.run_failure_sensor(
    description="Keep as incidents the checks that stopped a run, or why else it failed.",
    minimum_interval_seconds=EVERY_OTHER_ROUND,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def failed_runs(
    context: dg.RunFailureSensorContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """Open an incident for a run that failed, unless Dagster runs it again by itself.

    What a run checked that was given up meanwhile is out of date, whatever it was.
    """
    if is_afterword(context, database):
        return
    run = context.dagster_run
    link = f"{options.ui_url}/runs/{run.run_id}"
    follow_checks(database, context.instance, run.run_id, link)
    stopped = any(one.blocking for one in failed_checks(context.instance, run.run_id))
    if stopped or run.tags.get(RETRIED) == "true":
        return
    steps = [event.step_key for event in context.get_step_failure_events() if event.step_key]
    incidents.begin(
        database,
        [
            Incident(
                key=run_key(place),
                what=f"run failed{f' in {steps[0]}' if steps else ''}: {failure_cause(context)}",
                place=place,
                link=link,
            )
            for place in places(context.instance, run)
        ],
    )


@dg.run_status_sensor(
    description="Keep as incidents the checks that failed; close those that this run mended.",
    run_status=dg.DagsterRunStatus.SUCCESS,
    minimum_interval_seconds=EVERY_OTHER_ROUND,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def succeeded_runs(
    context: dg.RunStatusSensorContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    run = context.dagster_run
    link = f"{options.ui_url}/runs/{run.run_id}"
    follow_checks(database, context.instance, run.run_id, link)
    made = context.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    if made or not windows_of_run(
        run.tags, known_windows(context.instance)
    ):  # a run of checks alone mends nothing
        incidents.recover(database, [run_key(place) for place in places(context.instance, run)])


@dg.sensor(
    description="See how far we are behind the chain, and tell the addresses of alerts what began,"
    " what is over, and what happened to operators.",
    minimum_interval_seconds=EVERY_OTHER_ROUND,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def alert_webhook(
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> dg.SkipReason:
    """Follow the lag and tell of incidents and events; silence of either end fails the tick."""
    try:
        events.begin(database, follow_lag(database, chain, options))
    finally:
        follow_events(database, options)
        told = addresses(options.alert_webhook_url)
        sent = tell(database, told)
    if not told:
        return dg.SkipReason("ALERT_WEBHOOK_URL is not set: incidents are kept, nobody is told")
    return dg.SkipReason(f"{sent} messages sent")


def follow_lag(database: psycopg.Connection, chain: Chain, options: Settings) -> int | None:
    """Keep it as an incident that too many epochs wait, or that the node cannot be asked.

    Returns the last completed epoch, None before there is one.
    """
    try:
        head = chain.head()
        completed = head.last_completed_epoch
        require_not_behind(completed, store.last_epoch(database, source="chain"))
    except ChainError as error:
        key = BEHIND if isinstance(error, NodeBehindError) else NODE
        incidents.begin(database, [of_node(key, str(error), options)])
        raise
    store.note_head(database, head.best_block, completed)
    incidents.recover(database, [NODE, BEHIND])
    if head.late is None:
        incidents.recover(database, [LATE])
    else:
        incidents.begin(database, [of_node(LATE, head.late, options)])
    waiting = [] if completed is None else store.unserved(database, completed)
    if len(waiting) <= options.lag_limit:
        incidents.recover(database, [LAG])
        return completed
    incidents.begin(
        database,
        [
            Incident(
                key=LAG,
                what=f"{len(waiting)} completed epochs are not served",
                place=f"from epoch {waiting[0]}; epoch {completed} is the last one completed",
                link=options.ui_url,
            )
        ],
    )
    return completed


def follow_events(database: psycopg.Connection, options: Settings) -> None:
    """Keep what has happened to operators in the epochs that have come since the last look."""
    with database.transaction():
        told = events.fresh(database, options.alert_price_epochs)
        wanted = set(options.alert_operators)
        incidents.begin(
            database,
            [
                Incident(
                    key=f"event {one.operator_id} {one.kind} {one.epoch}",
                    what=f"{one.operator}: {one.what}",
                    place=one.place,
                    link=f"{options.api_url.rstrip('/')}/#/operator/{one.operator_id}",
                    kind=EVENT,
                )
                for one in told
                if one.kind in TOLD and (not wanted or one.operator_id in wanted)
            ],
        )


def of_node(key: str, what: str, options: Settings) -> Incident:
    return Incident(key=key, what=what, place="the archive node", link=options.ui_url)


def follow_checks(
    database: psycopg.Connection, instance: dg.DagsterInstance, run_id: str, link: str
) -> None:
    """Keep the checks that failed in a run as incidents, and close those that passed in it.

    A verdict on all windows together is none of its own: each of them has had its own.
    """
    evaluations = [
        one
        for one in check_evaluations(instance, run_id)
        if one.partition is not None or one.check_name in PARITY
    ]
    incidents.recover(database, [check_key(one) for one in evaluations if one.passed])
    incidents.begin(
        database,
        [
            Incident(
                key=check_key(one),
                what=f"check {one.asset_key.to_user_string()}.{one.check_name} failed",
                place=f"window {one.partition}: {one.description or 'no description'}",
                link=link,
            )
            for one in evaluations
            if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR
        ],
    )


def failed_checks(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckEvaluation]:
    return [
        one
        for one in check_evaluations(instance, run_id)
        if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR
    ]


def check_evaluations(
    instance: dg.DagsterInstance, run_id: str
) -> Iterator[dg.AssetCheckEvaluation]:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        event = entry.dagster_event
        if event is not None:
            yield event.asset_check_evaluation_data


def check_key(evaluation: dg.AssetCheckEvaluation) -> str:
    asset = evaluation.asset_key.to_user_string()
    return f"check {asset}.{evaluation.check_name} {evaluation.partition}"


def run_key(place: str) -> str:
    """The key of incidents about runs of a place, which any later success there closes."""
    return f"run {place}"


def places(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    windows = windows_of_run(run.tags, known_windows(instance))
    return [f"window {window.key}" for window in windows] or [f"job {run.job_name}"]


def is_afterword(context: dg.RunFailureSensorContext, database: psycopg.Connection) -> bool:
    """Whether a run ended that was given up and reported before, so that it is no news."""
    reported = GIVEN_UP in str(context.failure_event.message)
    return not reported and signs.was_given_up(database, context.dagster_run.run_id)


def failure_cause(context: dg.RunFailureSensorContext) -> str:
    """Why the run failed, short enough for a message."""
    cause = failed_step_cause(context.get_step_failure_events())
    return str(context.failure_event.message) if cause is None else cause[:300]
