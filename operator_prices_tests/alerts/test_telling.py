import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from operator_prices.alerts.addresses import addresses
from operator_prices.alerts.messages import message
from operator_prices.alerts.refusals import RefusedError
from operator_prices.alerts.telling import tell
from operator_prices.alerts.webhook import body
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
    assert [tell(database, addresses(webhook.url)), tell(database, addresses(webhook.url))] == [
        1,
        0,
    ]
    assert [incidents.recover(database, ["k"]), incidents.recover(database, ["k"])] == [1, 0]
    assert [tell(database, addresses(webhook.url)), tell(database, addresses(webhook.url))] == [
        1,
        0,
    ]
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
    assert tell(database, addresses(webhook.url)) == 1
    assert "window 4; and 2 more" in webhook.texts()[0]


def test_a_webhook_that_does_not_answer_is_told_again(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    webhook.status = 503
    with pytest.raises(RefusedError, match="503") as error:
        tell(database, addresses(webhook.url))
    assert "secret" not in str(error.value)
    webhook.status = 200
    assert tell(database, addresses(webhook.url)) == 1


def test_a_message_that_is_refused_holds_up_no_other(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    webhook.refuses = "a poison pill"
    pill = Incident(key="p", what="a poison pill", place="window 0", link="a")
    incidents.begin(database, [pill, TROUBLE])
    with pytest.raises(RefusedError, match="400"):
        tell(database, addresses(webhook.url))
    assert webhook.texts() == ["Trouble: run failed\nWhere: window 1\nhttp://ui/runs/1"]


def test_what_slack_would_take_for_markup_is_escaped() -> None:
    odd = Incident(key="k", what="1 < 2 & <!channel>", place="here", link="http://ui/?a=1&b=2")
    told = body(message([odd], recovered=False))
    assert told["text"] == (
        "Trouble: 1 &lt; 2 &amp; &lt;!channel&gt;\nWhere: here\nhttp://ui/?a=1&b=2"
    )


def test_several_addresses_are_told_once_each_whoever_of_them_does_not_answer(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    with serving_webhook() as other:
        both = addresses(f"{webhook.url}, {other.url}")
        other.status = 500
        for _ in range(3):
            with pytest.raises(RefusedError, match="500"):
                tell(database, both)
        assert (len(webhook.taken), len(other.taken), len(other.asked)) == (1, 0, 3)
        incidents.recover(database, ["k"])
        with pytest.raises(RefusedError, match="500"):
            tell(database, both)
        other.status = 200
        assert tell(database, both) == 2
        assert [text.split(":")[0] for text in webhook.texts()] == ["Trouble", "Recovered"]
        assert [text.split(":")[0] for text in other.texts()] == ["Trouble", "Recovered"]
        assert tell(database, both) == 0
        third = addresses(f"{webhook.url} {other.url} json://127.0.0.1:{webhook.server_port}")
        assert tell(database, third) == 0, "what others were told is old to a new address"


def test_an_end_is_told_of_what_an_earlier_version_told(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    database.execute("UPDATE alert_incidents SET told_at = now()")
    assert tell(database, addresses(webhook.url)) == 0
    incidents.recover(database, ["k"])
    assert tell(database, addresses(webhook.url)) == 1


def test_an_address_that_swallows_everything_leaves_time_for_the_others(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(
        database,
        [Incident(key=str(n), what=f"trouble {n}", place="here", link="l") for n in range(9)],
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"json://127.0.0.1:{silent.getsockname()[1]}/?rto=0.5"
        begun = time.monotonic()
        with pytest.raises(RefusedError, match="json://127"):
            tell(database, addresses(f"{dead} {webhook.url}"), within=2)
    assert len(webhook.taken) == 9
    assert time.monotonic() - begun < 4


def test_those_who_answer_have_their_turn_among_many_that_do_not(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        dead = f"json://127.0.0.1:{silent.getsockname()[1]}"
        many = " ".join(f"{dead}/{number}?rto=0.3" for number in range(4))
        told = addresses(f"{many} {webhook.url}")
        for _ in range(100):
            with suppress(RefusedError):
                tell(database, told, within=0.4)
            assert asked(silent) <= 2, "after that no further one is begun"
            if webhook.taken:
                break
    assert len(webhook.taken) == 1


def asked(server: socket.socket) -> int:
    """How many have come since the last look."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_an_answer_that_comes_a_byte_at_a_time_is_given_up(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_prices.alerts.webhook.SECONDS", 0.5)
    webhook.status, webhook.says, webhook.pause = 500, b"not now", 0.2
    [address] = addresses(webhook.url)
    told = message([TROUBLE], recovered=False)
    begun = time.monotonic()
    with pytest.raises(RefusedError, match=r"no whole answer within 0\.5 s"):
        address.send(told)
    with pytest.raises(RefusedError, match="still answering the message before"):
        address.send(told)
    assert time.monotonic() - begun < 1.2
    assert len(webhook.asked) == 1
    webhook.pause = 0
    while any(thread.name.startswith("alert to") for thread in threading.enumerate()):
        time.sleep(0.05)
    with pytest.raises(RefusedError, match=r"500 .*: not now"):
        address.send(told)


def test_an_answer_that_sends_on_to_no_place_holds_up_no_other(
    database: psycopg.Connection, webhook: Webhook
) -> None:
    incidents.begin(database, [TROUBLE])
    with serving_webhook() as other:
        webhook.status, webhook.location = 302, "http://["
        with pytest.raises(RefusedError, match="Invalid IPv6 URL"):
            tell(database, addresses(f"{webhook.url} {other.url}"))
        assert len(other.taken) == 1
