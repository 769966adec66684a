"""Why a run failed, in one line."""

from collections.abc import Iterable

import dagster as dg
import psycopg
from dagster_shared.error import SerializableErrorInfo

from operator_prices.chain import DomainMissingError, NodeHangsError, WrongChainError
from operator_prices.defs.window_assets import PASSING
from operator_prices.postgres import troubles

WHATEVER_THE_WINDOW = (*PASSING, NodeHangsError, WrongChainError, DomainMissingError)
"""Troubles of the node's that are the same for every window. What it refuses or has no more, and a
runtime that we do not understand, may be of one window alone, and costs no waiting."""


def failed_step_cause(events: Iterable[dg.DagsterEvent]) -> str | None:
    """The innermost cause of the first failed step; None where no step failed with an error."""
    for event in events:
        if event.is_step_failure and event.step_failure_data.error:
            return _message(_innermost(event.step_failure_data.error))
    return None


def lost_database(events: Iterable[dg.DagsterEvent]) -> psycopg.Error | None:
    """The error of the database, if it is for want of it that the run or a step failed."""
    for event in events:
        error = None
        if event.is_step_failure:
            error = event.step_failure_data.error
        elif event.is_run_failure:
            error = event.job_failure_data.error
        if error is not None:
            cause = _innermost(error)
            kind = troubles.passing().get(cause.cls_name or "")
            if kind is not None:
                return kind(_message(cause))
    return None


def failed_for_the_node(events: Iterable[dg.DagsterEvent]) -> bool:
    """Whether a step failed for trouble of the node's that another window would have as well."""
    kinds = {kind.__name__ for kind in WHATEVER_THE_WINDOW}
    return any(
        event.is_step_failure
        and event.step_failure_data.error is not None
        and _innermost(event.step_failure_data.error).cls_name in kinds
        for event in events
    )


def _innermost(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause:
        error = error.cause
    return error


def _message(error: SerializableErrorInfo) -> str:
    message = error.message.strip().partition(": ")[2] or error.message
    return " ".join(message.split())
