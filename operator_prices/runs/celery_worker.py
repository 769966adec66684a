"""A worker of Celery: takes runs from the broker, and ends when the runs that it has are over."""

from importlib.util import find_spec

from operator_prices.errors import ExplainedError
from operator_prices.settings import Settings

NEEDED = "celery_broker", "celery_backend", "database_url", "archive_node_url"
"""What all machines have in common, so that no default of this one can stand for it."""


def work(settings: Settings) -> int:
    """Take runs until SIGTERM, and then no further ones; the exit code.

    Raises `ExplainedError` where the extra is missing, or a setting that all machines share.
    """
    if find_spec("dagster_celery") is None:
        raise ExplainedError(
            "A worker needs the extra `celery`: pip install 'operator-prices[celery]'."
        )
    for name in NEEDED:
        if getattr(settings, name) is None:
            raise ExplainedError(
                f"A worker needs {name.upper()}, the same as the other machines: set it."
            )
    from dagster_celery.config import DEFAULT_CONFIG  # noqa: PLC0415 - the extra may be missing
    from dagster_celery.make_app import make_app  # noqa: PLC0415
    from dagster_celery.tasks import (  # noqa: PLC0415
        create_execute_job_task,
        create_resume_job_task,
    )

    app = make_app(  # type: ignore[no-untyped-call]
        {
            "broker": settings.celery_broker,
            "backend": settings.celery_backend,
            "config_source": {
                **DEFAULT_CONFIG,
                "worker_disable_prefetch": True,  # a run that waits is for whoever is free first
                "broker_connection_retry_on_startup": True,
                "broker_connection_max_retries": None,
            },
        }
    )
    create_execute_job_task(app)
    create_resume_job_task(app)
    app.worker_main(
        [
            "worker",
            "--loglevel=INFO",
            "--hostname=worker@%h",
            f"--concurrency={settings.worker_runs}",
        ]
    )
    return 0
