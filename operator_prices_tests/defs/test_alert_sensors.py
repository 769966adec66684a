import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import dagster as dg
import psycopg
import pytest

from operator_prices.chain import NodeUnreachableError
from operator_prices.definitions import defs
from operator_prices.defs.alert_sensors import (
    alert_webhook,
    failed_runs,
    follow_lag,
    succeeded_runs,
)
from operator_prices.defs.parity_checks import parity
from operator_prices.defs.partitions import begin_windows
from operator_prices.settings import Settings
from operator_prices.store import incidents
from operator_prices.store.incidents import Incident, WebhookError
from operator_prices_tests.defs.test_sensors import HeadOnly, Unreachable, served
from operator_prices_tests.support.windows_samples import (
    FIRST,
    WrongPrice,
    run_windows,
    small_chain,
)


class Webhook(ThreadingHTTPServer):
    """Takes messages as Slack does, or refuses them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[dict[str, object]] = []
        self.status = 200
        self.refuses = "nothing of this kind"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret"

    def texts(self) -> list[str]:
        return [str(message["text"]) for message in self.taken]


class _Taking(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        status = 400 if self.server.refuses in body.decode() else self.server.status
        if status == 200:
            self.server.taken.append(json.loads(body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


TROUBLE = Incident(key="k", what="run failed", place="window 1", link="http://ui/runs/1")


def test_an_incident_is_told_once_and_its_end_once(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    assert [incidents.begin(database, [TROUBLE]), incidents.begin(database, [TROUBLE])] == [1, 0]
    assert [incidents.tell(database, webhook.url), incidents.tell(database, webhook.url)] == [1, 0]
    assert [incidents.recover(database, ["k"]), incidents.recover(database, ["k"])] == [1, 0]
    assert [incidents.tell(database, webhook.url), incidents.tell(database, webhook.url)] == [1, 0]
    assert webhook.texts() == [
        "Trouble: run failed\nWhere: window 1\nhttp://ui/runs/1",
        "Recovered: run failed\nWhere: window 1\nhttp://ui/runs/1",
    ]
    assert incidents.begin(database, [TROUBLE]) == 1, "it is another incident by now"


def test_one_trouble_in_many_places_is_one_message(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(
        database,
        [Incident(key=str(n), what="failed", place=f"window {n}", link="l") for n in range(7)],
    )
    assert incidents.tell(database, webhook.url) == 1
    assert "window 4; and 2 more" in webhook.texts()[0]


def test_a_webhook_that_does_not_answer_is_told_again(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    webhook.status = 503
    with pytest.raises(WebhookError, match="503") as error:
        incidents.tell(database, webhook.url)
    assert "secret" not in str(error.value)
    webhook.status = 200
    assert incidents.tell(database, webhook.url) == 1


def test_a_message_that_is_refused_holds_up_no_other(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    webhook.refuses = "a poison pill"
    pill = Incident(key="p", what="a poison pill", place="window 0", link="a")
    incidents.begin(database, [pill, TROUBLE])
    with pytest.raises(WebhookError, match="400"):
        incidents.tell(database, webhook.url)
    assert webhook.texts() == ["Trouble: run failed\nWhere: window 1\nhttp://ui/runs/1"]


def test_what_slack_would_take_for_markup_is_escaped() -> None:
    odd = Incident(key="k", what="1 < 2 & <!channel>", place="here", link="http://ui/?a=1&b=2")
    told = incidents.message([odd], recovered=False)
    assert told["text"] == (
        "Trouble: 1 &lt; 2 &amp; &lt;!channel&gt;\nWhere: here\nhttp://ui/?a=1&b=2"
    )


def test_a_webhook_must_be_an_address(database: psycopg.Connection) -> None:
    incidents.begin(database, [TROUBLE])
    with pytest.raises(WebhookError, match="ALERT_WEBHOOK_URL"):
        incidents.tell(database, "file:///etc/passwd")


def look(database: psycopg.Connection, chain: HeadOnly, webhook: Webhook) -> None:
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
        incidents.tell(database, webhook.url)
        database.execute("DELETE FROM epochs; DELETE FROM operator_share_prices")
        report(instance, database, run_windows(instance, database, chain, FIRST))
        incidents.tell(database, webhook.url)

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
    incidents.tell(database, webhook.url)
    assert webhook.texts()[0].startswith(
        f"Trouble: run failed in raw_epochs: the disk is full\nWhere: window {FIRST}\nhttp://ui/runs/"
    )


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
