"""A message that was not taken, and why."""

from operator_prices.errors import ExplainedError


class RefusedError(ExplainedError):
    """Somebody did not take a message; its text says who and why, and shows no secret."""

    def __init__(self, label: str, why: str) -> None:
        super().__init__(
            f"{label} did not take an alert ({why}): it is told again at the next tick; correct"
            " ALERT_WEBHOOK_URL if this stays."
        )
        self.why = why
