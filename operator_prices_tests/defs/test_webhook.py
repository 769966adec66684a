from collections.abc import Iterator

import psycopg
import pytest

from operator_prices.defs.webhook import WebhookError, message, tell
from operator_prices.store import incidents
from operator_prices.store.incidents import Incident
from operator_prices_tests.support.webhooks import Webhook, serving_webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with serving_webhook() as server:
        yield server


TROUBLE = Incident(key="k", what="run failed", place="window 1", link="http://ui/runs/1")


def test_an_incident_is_told_once_and_its_end_once(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    assert [incidents.begin(database, [TROUBLE]), incidents.begin(database, [TROUBLE])] == [1, 0]
    assert [tell(database, webhook.url), tell(database, webhook.url)] == [1, 0]
    assert [incidents.recover(database, ["k"]), incidents.recover(database, ["k"])] == [1, 0]
    assert [tell(database, webhook.url), tell(database, webhook.url)] == [1, 0]
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
    assert tell(database, webhook.url) == 1
    assert "window 4; and 2 more" in webhook.texts()[0]


def test_a_webhook_that_does_not_answer_is_told_again(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    webhook.status = 503
    with pytest.raises(WebhookError, match="503") as error:
        tell(database, webhook.url)
    assert "secret" not in str(error.value)
    webhook.status = 200
    assert tell(database, webhook.url) == 1


def test_a_message_that_is_refused_holds_up_no_other(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    webhook.refuses = "a poison pill"
    pill = Incident(key="p", what="a poison pill", place="window 0", link="a")
    incidents.begin(database, [pill, TROUBLE])
    with pytest.raises(WebhookError, match="400"):
        tell(database, webhook.url)
    assert webhook.texts() == ["Trouble: run failed\nWhere: window 1\nhttp://ui/runs/1"]


def test_what_slack_would_take_for_markup_is_escaped() -> None:
    odd = Incident(key="k", what="1 < 2 & <!channel>", place="here", link="http://ui/?a=1&b=2")
    told = message([odd], recovered=False)
    assert told["text"] == (
        "Trouble: 1 &lt; 2 &amp; &lt;!channel&gt;\nWhere: here\nhttp://ui/?a=1&b=2"
    )


def test_a_webhook_must_be_an_address(database: psycopg.Connection) -> None:
    incidents.begin(database, [TROUBLE])
    with pytest.raises(WebhookError, match="ALERT_WEBHOOK_URL"):
        tell(database, "file:///etc/passwd")
