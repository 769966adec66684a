"""Why a run failed, in one line."""

from collections.abc import Iterable

import dagster as dg


def failed_step_cause(events: Iterable[dg.DagsterEvent]) -> str | None:
    """The innermost cause of the first failed step; None where no step failed with an error."""
    for event in events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            while error.cause:
                error = error.cause
            message = error.message.strip().partition(": ")[2] or error.message
            return " ".join(message.split())
    return None
