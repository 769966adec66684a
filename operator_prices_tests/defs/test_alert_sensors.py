import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.alerts.addresses import addresses
from operator_prices.alerts.telling import tell
from operator_prices.chain import (
    Chain,
    NodeBehindError,
    NodeHangsError,
    NodeUnreachableError,
    connect,
)
from operator_prices.chain.substrate import node as clock
from operator_prices.definitions import defs
from operator_prices.defs.alert_sensors import (
    alert_webhook,
    failed_runs,
    follow_events,
    follow_lag,
    succeeded_runs,
)
from operator_prices.defs.parity_checks import parity
from operator_prices.defs.partitions import begin_windows
from operator_prices.defs.resources import archive_node
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices.settings import Settings
from operator_prices.store import events, incidents, signs
from operator_prices.store.incidents import Incident
from operator_prices_tests.support import history
from operator_prices_tests.support.heads import HeadOnly, Unreachable, served
from operator_prices_tests.support.nodes import stoppable
from operator_prices_tests.support.samples import own_copy
from operator_prices_tests.support.webhooks import Webhook, serving_webhook
from operator_prices_tests.support.windows_samples import (
    FIRST,
    WrongPrice,
    run_windows,
    small_chain,
)

INTERVAL = alert_webhook.minimum_interval_seconds or 0


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with serving_webhook() as server:
        yield server


def look(database: psycopg.Connection, chain: Chain, webhook: Webhook) -> None:
    options = Settings(alert_webhook_url=webhook.url, lag_limit=5)
    alert_webhook(
        dg.build_sensor_context(
            resources={"chain": chain, "database": database, "options": options}
        )
    )


def test_a_lag_is_an_incident_until_it_is_made_up_for(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    served(database, range(10))
    look(database, HeadOnly(14), webhook)
    assert webhook.taken == []
    look(database, HeadOnly(15), webhook)
    look(database, HeadOnly(16), webhook)
    assert webhook.texts()[0].startswith(
        "Trouble: 6 completed epochs are not served\nWhere: from epoch 10"
    )
    served(database, range(10, 17))
    look(database, HeadOnly(16), webhook)
    assert [text.split(":")[0] for text in webhook.texts()] == ["Trouble", "Recovered"]


def test_a_node_that_does_not_answer_is_told_and_fails_the_tick(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    with pytest.raises(NodeUnreachableError):
        look(database, Unreachable(None), webhook)
    assert "nobody answers" in webhook.texts()[0]
    look(database, HeadOnly(None), webhook)
    assert webhook.texts()[1].startswith("Recovered: nobody answers")


@pytest.mark.e2e
def test_a_node_that_hangs_is_told_within_half_a_minute_and_when_it_goes_on(
    database: psycopg.Connection, webhook: Webhook, tmp_path: Path
) -> None:
    with stoppable() as node:
        recipe = archive_node.configured({"url": node.url, "data_dir": str(tmp_path)})

        def tick() -> None:
            with dg.build_resources({"chain": recipe, "database": database}) as resources:
                look(database, resources.chain, webhook)

        tick()
        node.stop()
        begun = time.monotonic()
        with pytest.raises(NodeHangsError):
            tick()
        assert time.monotonic() - begun + INTERVAL < 30
        assert webhook.texts()[-1].startswith(
            f"Trouble: {node.url} hangs: connected, no answer for 12 s; restart the node"
        )
        node.go_on()
        tick()
        assert webhook.texts()[-1].startswith(f"Recovered: {node.url} hangs")


def test_nodes_that_disagree_by_the_tick_are_one_incident_until_they_are_calm(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    served(database, range(90))
    for _ in range(4):
        with pytest.raises(NodeBehindError):
            look(database, HeadOnly(60), webhook)
        look(database, HeadOnly(89), webhook)
    assert [text.split(":")[0] for text in webhook.texts()] == ["Trouble"]
    assert "completed epoch 60, and epoch 89 is stored" in webhook.texts()[0]
    database.execute("UPDATE alert_incidents SET recovered_at = now() - INTERVAL '5 minutes'")
    look(database, HeadOnly(89), webhook)
    assert [text.split(":")[0] for text in webhook.texts()] == ["Trouble", "Recovered"]
    with pytest.raises(NodeBehindError):
        look(database, HeadOnly(60), webhook)
    assert [text.split(":")[0] for text in webhook.texts()] == ["Trouble", "Recovered", "Trouble"]


def test_a_node_that_answers_with_an_old_head_is_told_at_the_next_look(
    database: psycopg.Connection,
    webhook: Webhook,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = DevChain(Scenario(seconds_per_block=0, epochs=6, operators=3))
    newest = played.blocks.timestamp(played.head) / 1000

    async def real(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "system_chainType":
            answer["result"] = "Live"
        return answer

    with (
        serving(played, tamper=real) as node,
        connect(node.url, domain_id=0, cache=tmp_path) as chain,
    ):
        for seconds_old in (20, 7200, 20):
            monkeypatch.setattr(clock, "time", partial(float, newest + seconds_old))
            look(database, chain, webhook)
    told = [text for text in webhook.texts() if "epochs are not served" not in text]
    assert len(told) == 2
    assert re.match(
        r"Trouble: ws://\S+ answers with an old head: block \d+ is 2 hours old, and the chain makes"
        r" one every 6 s; see whether",
        told[0],
    )
    assert told[1].startswith("Recovered: ws://")


def test_what_happens_to_an_operator_is_told_once_and_history_is_not(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    history.write(database, 0, 20, 2)
    database.execute("UPDATE operator_shares SET nomination_tax = 5 WHERE epoch >= 10")
    look(database, HeadOnly(20), webhook)
    history.write(database, 21, 25, 2)
    database.execute("UPDATE operator_shares SET nomination_tax = 5 WHERE epoch > 20")
    database.execute(
        "UPDATE operator_shares SET (nomination_tax, status) = ROW (7, 'Deregistered')"
        " WHERE operator_id = 1 AND epoch >= 23"
    )
    for _ in range(3):
        look(database, HeadOnly(25), webhook)
    ended = "Epoch 23, which ended at 2023-11-15 02:37 UTC"
    assert sorted(webhook.texts()) == [
        f"Operator 1: {what}\n{ended}\nhttp://127.0.0.1:8000/#/operator/1"
        for what in (
            "Nomination tax raised from 5 % to 7 %",
            "Status changed from registered to deregistered",
        )
    ]


def test_only_operators_that_are_asked_for_are_told_of(database: psycopg.Connection) -> None:
    events.begin(database, -1)
    history.write(database, 0, 5, 3)
    database.execute("UPDATE operator_shares SET nomination_tax = 50 WHERE epoch >= 3")
    follow_events(database, Settings(alert_operators=(0, 2)))
    kept = database.execute("SELECT what FROM alert_incidents ORDER BY what").fetchall()
    assert [what.split(":")[0] for (what,) in kept] == ["Operator 0", "Operator 2"]


def test_without_a_webhook_incidents_are_kept(database: psycopg.Connection) -> None:
    follow_lag(database, HeadOnly(99), Settings())
    assert database.execute("SELECT key, told_at FROM alert_incidents").fetchall() == [
        ("lag", None)
    ]


def report(
    instance: dg.DagsterInstance, database: psycopg.Connection, result: dg.ExecuteInProcessResult
) -> None:
    """Have the sensor look that Dagster would show the run to."""
    resources = {"database": database, "options": Settings(ui_url="http://ui")}
    kind, sensor = (
        (dg.DagsterEventType.RUN_SUCCESS, succeeded_runs)
        if result.success
        else (dg.DagsterEventType.RUN_FAILURE, failed_runs)
    )
    (event,) = [one for one in result.all_events if one.event_type == kind]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=run,
        resources=resources,
    )
    sensor(context if result.success else context.for_run_failure())


def test_a_corrupted_chain_is_alerted_by_the_name_of_its_check_until_it_is_mended(
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    webhook: Webhook,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with small_chain(tmp_path_factory.mktemp("runtimes")) as chain:
        result = run_windows(instance, database, WrongPrice(chain), FIRST)
        report(instance, database, result)
        report(instance, database, result)
        tell(database, addresses(webhook.url))
        database.execute("DELETE FROM epochs; DELETE FROM operator_share_prices")
        report(instance, database, run_windows(instance, database, chain, FIRST))
        tell(database, addresses(webhook.url))

    began, ended = webhook.texts()
    assert began.startswith(
        "Trouble: check operator_share_prices.price_not_above_recomputed failed\n"
        f"Where: window {FIRST}: epoch 7, operator 0: 1000000000000000000 instead of "
    )
    assert began.endswith(f"http://ui/runs/{result.run_id}")
    assert ended.startswith("Recovered: check operator_share_prices.price_not_above_recomputed")


def test_a_run_that_fails_for_another_reason_is_alerted_with_the_reason(
    instance: dg.DagsterInstance, database: psycopg.Connection, webhook: Webhook
) -> None:
    class Broken(HeadOnly):
        @property
        def genesis_hash(self) -> str:  # type: ignore[override]
            raise dg.Failure("the disk is full", allow_retries=False)

    report(instance, database, run_windows(instance, database, Broken(None), FIRST))
    tell(database, addresses(webhook.url))
    assert webhook.texts()[0].startswith(
        f"Trouble: run failed in raw_epochs: the disk is full\nWhere: window {FIRST}\nhttp://ui/runs/"
    )


def test_what_a_run_found_that_was_given_up_meanwhile_is_no_news(
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with small_chain(tmp_path_factory.mktemp("runtimes")) as chain:
        result = run_windows(instance, database, WrongPrice(chain), FIRST)
    signs.begin(database, result.run_id, host="h2", launcher="Celery", process="1")
    database.execute("UPDATE run_signs SET given_up_at = now()")

    report(instance, database, result)

    assert database.execute("SELECT key FROM alert_incidents").fetchall() == []


def test_a_run_of_checks_alone_does_not_end_the_trouble_of_its_window(
    instance: dg.DagsterInstance,
    database: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with small_chain(tmp_path_factory.mktemp("runtimes")) as chain:
        begin_windows(instance, 199)
        trouble = Incident(key=f"run window {FIRST}", what="failed", place="here", link="l")
        incidents.begin(database, [trouble])
        resources = {"chain": chain, "database": database, "options": Settings()}
        look = dg.Definitions(
            assets=defs.assets,
            asset_checks=defs.asset_checks,
            jobs=[dg.define_asset_job("look", dg.AssetSelection.checks(*parity.check_keys))],
            resources=resources,
        ).resolve_job_def("look")
        tags = {"dagster/partition": FIRST}
        result = look.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
        assert result.success
        report(instance, database, result)
        still_open = "SELECT key FROM alert_incidents WHERE recovered_at IS NULL"
        assert (trouble.key,) in database.execute(still_open).fetchall()
        report(instance, database, run_windows(instance, database, chain, FIRST))
        assert (trouble.key,) not in database.execute(still_open).fetchall()
