"""The code location: all there is, tied to the outside world by the environment alone."""

import dagster as dg

from operator_prices.starting import uncollected

with uncollected():
    from operator_prices import VERSION
    from operator_prices.defs import (
        alert_sensors,
        assets,
        checks,
        jobs,
        legacy_assets,
        parity_checks,
        resources,
        schedules,
        sensors,
        signs_of_life,
    )

database_url = dg.EnvVar("DATABASE_URL")

defs = dg.Definitions(
    assets=[
        legacy_assets.legacy_epochs,
        assets.raw_epochs,
        assets.raw_nominators,
        assets.operator_tables,
        assets.nominator_positions,
        assets.comprehensive_analytics,
    ],
    asset_checks=[
        checks.raw_epochs_checks,
        checks.parsed_checks,
        checks.nominators_checks,
        checks.analytics_checks,
        parity_checks.parity,
    ],
    jobs=[jobs.ingest_epochs, jobs.import_legacy, jobs.verify_parity, jobs.delete_old_runs],
    schedules=[
        schedules.daily_verification,
        schedules.hourly_freshness,
        schedules.daily_cleanup,
        schedules.weekly_parity,
    ],
    sensors=[
        sensors.completed_epochs,
        alert_sensors.failed_runs,
        alert_sensors.succeeded_runs,
        alert_sensors.alert_webhook,
        signs_of_life.lost_runs,
    ],
    executor=dg.in_process_executor,
    resources={
        "chain": resources.archive_node.configured(
            {"url": {"env": "ARCHIVE_NODE_URL"}, "data_dir": {"env": "DATA_DIR"}}
        ),
        "database": resources.Database(dsn=database_url),
        "options": resources.environment_options,
    },
    metadata={"version": VERSION},
)
