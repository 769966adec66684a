"""How Dagster hands a run to Celery: as its own launcher does, and patiently."""

from operator_prices.errors import ExplainedError

try:
    from celery.result import denied_join_result
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster_celery.launcher import CeleryRunLauncher as Impatient
    from dagster_celery.launcher import LaunchRunContext
    from kombu.exceptions import OperationalError
except ModuleNotFoundError as missing:
    raise ExplainedError(
        f"Runs are handed to Celery by the extra `celery`, of which {missing.name} is missing here:"
        " pip install 'operator-prices[celery]'."
    ) from None


class CeleryRunLauncher(Impatient):
    """Dagster's launcher; a broker that is away is waited for as a code server is.

    Dagster takes back into its queue only what no code server could be asked for, and calls any
    other run that could not be handed over a failed one.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Nobody listens for results, which would make Celery unusable once their place is lost."""
        try:
            with denied_join_result():
                super().launch_run(context)
        except OperationalError as error:
            place = self.celery.connection_for_write().as_uri()
            raise DagsterUserCodeUnreachableError(
                f"The broker {place} cannot be reached ({error}): start it, or see to"
                " CELERY_BROKER; the run waits in the queue."
            ) from error
