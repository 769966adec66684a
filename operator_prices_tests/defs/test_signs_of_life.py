import os
import socket
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices import VERSION
from operator_prices.definitions import defs
from operator_prices.defs import signs_of_life
from operator_prices.defs.resources import NODE_POOL, Database
from operator_prices.defs.signs_of_life import (
    COMMAND_LINE,
    PRIORITY,
    WORKER,
    close_orphans,
    lost_runs,
)
from operator_prices.local import dagster_home
from operator_prices.store import signs
from operator_prices.store.signs import SILENT_SECONDS, FencedConnection

GONE = "000000/1@1.00"


@pytest.fixture
def kept(
    dsn: str, database: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """An instance that other processes know of, too."""
    assert database
    monkeypatch.setenv("DAGSTER_PG_URL", dagster_home.storage_url(dsn))
    with dg.DagsterInstance.from_config(str(dagster_home.home(tmp_path))) as instance:
        yield instance


def started(instance: dg.DagsterInstance, run_id: str, **tags: str) -> None:
    told = {"source": COMMAND_LINE, **tags}
    instance.add_run(
        dg.DagsterRun("job", run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags=told)
    )


def silent(database: psycopg.Connection, run_id: str) -> None:
    database.execute(
        "UPDATE run_signs SET seen_signs = signs, silence = make_interval(secs => %s)"
        " WHERE run_id = %s",
        [SILENT_SECONDS, run_id],
    )


def tick(instance: dg.DagsterInstance, database: psycopg.Connection) -> str:
    context = dg.build_sensor_context(instance=instance, resources={"database": database})
    skipped = lost_runs(context)
    assert isinstance(skipped, dg.SkipReason)
    return str(skipped.skip_message)


def status(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status.value


def test_a_silent_run_is_reported_as_failed_with_its_host_and_its_slots_are_free(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    events = kept.event_log_storage
    events.set_concurrency_slots(NODE_POOL, 1)
    for run, host in (("dead", "h3"), ("alive", "h2")):
        started(kept, run)
        signs.begin(database, run, host=host, launcher="CeleryRunLauncher", process=GONE)
    assert events.claim_concurrency_slot(NODE_POOL, "dead", "raw_epochs").is_claimed
    silent(database, "dead")

    said = tick(kept, database)

    assert said == f"host h3 (CeleryRunLauncher) has given no sign of life for {SILENT_SECONDS} s"
    assert (status(kept, "dead"), status(kept, "alive")) == ("FAILURE", "STARTED")
    (failure,) = kept.all_logs("dead", of_type=dg.DagsterEventType.RUN_FAILURE)
    assert failure.dagster_event is not None
    assert str(failure.dagster_event.message).startswith("Host h3 (CeleryRunLauncher) has given")
    dead = kept.get_run_by_id("dead")
    assert dead is not None
    assert dead.tags[WORKER] == said
    assert events.get_concurrency_info(NODE_POOL).active_run_ids == set()
    assert tick(kept, database) == "1 runs give signs of life"


def test_what_was_lost_goes_first_unless_somebody_has_said_how_soon(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    for run, told in (("lost", {}), ("said", {PRIORITY: "-3"})):
        started(kept, run, **told)
        signs.begin(database, run, host="h3", launcher="L", process=GONE)
        silent(database, run)
    tick(kept, database)
    runs = [kept.get_run_by_id(run) for run in ("lost", "said")]
    assert [run.tags[PRIORITY] for run in runs if run] == ["1", "-3"]


def test_a_worker_of_another_version_is_named_by_the_sensor_and_by_its_run(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    for run, version in (("old", "0.0.9"), ("new", VERSION), ("before", "")):
        started(kept, run)
        signs.begin(database, run, host="h3", launcher="L", process=GONE, version=version)
    told = (
        f"host h3 works with version 0.0.9 of operator-prices, and the code server has {VERSION}:"
        " install the same on both"
    )
    assert tick(kept, database) == tick(kept, database) == told
    tags = {run: kept.get_run_by_id(run) for run in ("old", "new", "before")}
    assert [run for run, one in tags.items() if one and WORKER in one.tags] == ["old"]
    assert tags["old"] is not None
    assert tags["old"].tags[WORKER] == f"h3; {told}"


def test_a_report_that_was_cut_short_is_made_up_for(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    started(kept, "dead")
    signs.begin(database, "dead", host="h3", launcher="L", process=GONE)
    (sign,) = signs.all_signs(database)
    assert signs.give_up(database, sign)
    tick(kept, database)
    assert status(kept, "dead") == "FAILURE"


def test_what_was_given_up_long_ago_is_not_asked_for_run_by_run(
    kept: dg.DagsterInstance, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("one", "two", "three"):
        started(kept, run)
        signs.begin(database, run, host="h3", launcher="L", process=GONE)
        silent(database, run)
    tick(kept, database)
    asked: list[str] = []
    real = kept.get_run_by_id

    def noted(run_id: str) -> dg.DagsterRun | None:
        asked.append(run_id)
        return real(run_id)

    monkeypatch.setattr(kept, "get_run_by_id", noted)
    assert tick(kept, database) == "0 runs give signs of life"
    assert asked == []


def test_a_run_of_another_code_location_need_not_give_signs(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    started(kept, "theirs", **{"source": "them", ".dagster/repository": "__repository__@theirs"})
    started(kept, "ours")
    tick(kept, database)
    assert [one.run_id for one in signs.all_signs(database)] == ["ours"]


def test_what_is_known_of_a_run_that_is_over_is_forgotten(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    started(kept, "over")
    signs.begin(database, "over", host="h3", launcher="L", process=GONE)
    run = kept.get_run_by_id("over")
    assert run is not None
    kept.report_run_canceled(run)
    silent(database, "over")
    tick(kept, database)
    assert signs.all_signs(database) == []
    assert status(kept, "over") == "CANCELED"


def test_runs_of_killed_processes_of_this_machine_are_closed_at_once(
    kept: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    machine, _, _ = signs_of_life.process_identity().rpartition("/")
    here, gone = signs_of_life.process_identity(), f"{machine}/{2**22 + 1}@1.00"
    for run, process in (("ours", here), ("killed", gone), ("elsewhere", GONE)):
        started(kept, run)
        signs.begin(database, run, host="h", launcher="L", process=process)
    close_orphans(kept, database)
    assert [status(kept, run) for run in ("ours", "killed", "elsewhere")] == [
        "STARTED",
        "FAILURE",
        "STARTED",
    ]


def test_a_run_gives_signs_while_its_steps_last_and_says_who_works_on_it(
    kept: dg.DagsterInstance, database: psycopg.Connection, dsn: str
) -> None:
    @dg.op
    def step(database: dg.ResourceParam[psycopg.Connection]) -> None:
        assert isinstance(database, FencedConnection)
        (sign,) = signs.all_signs(database)
        assert (sign.host, sign.launcher) == (socket.gethostname(), COMMAND_LINE)
        assert f"/{os.getpid()}@" in sign.process
        assert sign.run_id == database.run_id

    @dg.job(resource_defs={"database": Database(dsn=dsn).get_resource_definition()})
    def work() -> None:
        step()

    result = work.execute_in_process(instance=kept)
    assert signs.all_signs(database) == []
    run = kept.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[WORKER] == (
        f"{socket.gethostname()}, {COMMAND_LINE}, version {VERSION}, a sign of life every"
        f" {signs.EVERY_SECONDS} s"
    )


def test_every_step_of_ours_has_the_database_and_so_gives_signs() -> None:
    jobs = defs.resolve_all_job_defs()
    assert {job.name for job in jobs} > {"ingest_epochs", "delete_old_runs"}
    for job in jobs:
        for node in job.nodes:
            assert isinstance(node.definition, dg.OpDefinition)
            assert "database" in node.definition.required_resource_keys, (job.name, node.name)
