"""Each form of address arrives where it should, says who we are, and shows nothing of itself."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operator_prices import VERSION
from operator_prices.alerts.addresses import AddressError, addresses
from operator_prices.alerts.messages import Message
from operator_prices.alerts.refusals import RefusedError
from operator_prices.settings import VARIABLES
from operator_prices_tests.support.webhooks import serving_as, serving_mail, serving_webhook

AGENT = f"operator-prices/{VERSION}"
TROUBLE = Message("Trouble: run failed", "Where: window 1", "http://ui/runs/1", "bad")
SLACK = "T0SECRET0/B0SECRET0/abcdefghijSECRETtuvwxyz0"
DISCORD = "123456789012345678/abcdefgh-SECRET-token_xyz"
BOT = "123456789:AAF-SECRET_aaaaaaaaaaaaaaaaaaaaaaaaa"
SERVICES = {
    f"https://hooks.slack.com/services/{SLACK}": "hooks.slack.com",
    f"slack://{SLACK}": "hooks.slack.com",
    f"https://discord.com/api/webhooks/{DISCORD}": "discord.com",
    f"discord://{DISCORD}": "discord.com",
    f"tgram://{BOT}/-100123": "api.telegram.org",
    "mmosts://chat.example/SECRETaaaaaaaaaaaaaaaaaaaa": "chat.example",
    "https://chat.example/hooks/SECRETaaaaaaaaaaaaaaaaaaaa": "chat.example",
    "jsons://me:SECRET9@hooks.example/in/SECRETpath": "hooks.example",
}


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")), *VARIABLES]:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What somebody reads who has all that is logged written down."""
    written = io.StringIO()
    root, handler = logging.getLogger(), logging.StreamHandler(written)
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize("address", SERVICES)
def test_a_service_takes_what_it_is_told_through_the_proxy_and_a_refusal_says_why(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: io.StringIO,
) -> None:
    host = SERVICES[address]
    with serving_as([host], tmp_path, monkeypatch) as (server, proxy):
        (told,) = addresses(address)
        told.send(TROUBLE)
        server.status, server.says = 403, f"error code: 1010, {address}".encode()
        with pytest.raises(RefusedError) as refused:
            told.send(TROUBLE)
    assert {line.rpartition(" ")[0] for line in proxy.seen} == {f"CONNECT {host}:443"}
    taken, _ = server.asked
    assert (taken.host, taken.agent) == (host, AGENT)
    said = json.dumps(taken.body)
    for text in ("Trouble: run failed", "window 1", "http://ui/runs/1"):
        assert text in said.replace("\\/", "/")
    assert "403" in str(refused.value)
    assert "error code: 1010" in str(refused.value)
    assert refused.value.__cause__ is None
    seen = f"{told.label} {refused.value} {logged.getvalue()}"
    assert "SECRET" not in seen, seen
    assert len(str(refused.value)) < 500


def test_mail_arrives_and_a_wrong_password_is_named_as_such() -> None:
    with serving_mail("me", "hush hush") as (box, port):
        place = f"127.0.0.1:{port}?to=a@b.example,c@d.example&from=prices@site.example"
        right, wrong = addresses(f"mailto://me:hush%20hush@{place} mailto://me:hash@{place}")
        right.send(TROUBLE)
        with pytest.raises(RefusedError, match="535") as refused:
            wrong.send(TROUBLE)
    assert {letter["to"] for letter in box.letters} == {"a@b.example", "c@d.example"}
    letter = box.letters[0]
    assert letter["subject"] == "Trouble: run failed"
    assert "prices@site.example" in letter["from"]
    text = letter.get_body(("plain", "html"))
    assert text is not None
    assert "window 1" in text.get_content()
    assert "hash" not in f"{refused.value} {wrong.label}"
    assert (right.label, wrong.label) == (f"mailto://127.0.0.1:{port}", f"{right.label} (2)")


def test_an_address_that_no_proxy_is_wanted_for_is_reached_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving_webhook() as webhook:
        addresses(webhook.url)[0].send(TROUBLE)
        monkeypatch.delenv("NO_PROXY")
        with pytest.raises(RefusedError, match="the proxy that the environment names"):
            addresses(webhook.url)[0].send(TROUBLE)
    assert [one.agent for one in webhook.asked] == [AGENT]


def test_who_sends_a_message_on_to_another_place_has_not_taken_it() -> None:
    with serving_webhook() as webhook:
        webhook.status, webhook.location = 302, "http://login.example/secret"
        for address in (webhook.url, webhook.url.replace("http:", "json:")):
            with pytest.raises(RefusedError, match="302"):
                addresses(address)[0].send(TROUBLE)


def test_nobody_is_called_by_what_a_node_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shout = Message("Trouble: @everyone <!channel>", "Where: <@123>", "http://ui/")
    with serving_as(["hooks.slack.com", "discord.com"], tmp_path, monkeypatch) as (server, _):
        for told in addresses(f"slack://{SLACK} discord://{DISCORD}?format=markdown"):
            told.send(shout)
    slack, discord = (json.dumps(one.body) for one in server.asked)
    assert "<!channel>" not in slack
    for said in (slack, discord):
        assert "@everyone" not in said
        assert "<@123>" not in said


@pytest.mark.parametrize(
    "setting",
    ["file:///etc/passwd", "nosuch://SECRET", "slack://SECRET", "https://", "http://a b/SECRET"],
)
def test_an_address_that_is_none_is_named_by_its_place_alone(setting: str) -> None:
    with pytest.raises(AddressError, match="Address 2 of ALERT_WEBHOOK_URL") as error:
        addresses(f"http://hooks.example/x, {setting}")
    assert "SECRET" not in str(error.value)
    with pytest.raises(AddressError, match=r"Address 1 .* \(no scheme\)"):
        addresses("hooks.example/x")


def test_several_addresses_are_told_apart_whatever_lies_between() -> None:
    found = addresses(
        "\n https://a.example/x,mailto://me:x@m.example?to=a@b.c,d@e.f\tntfy://n.example/t ,"
    )
    assert [one.label for one in found] == [
        "https://a.example",
        "mailto://m.example",
        "ntfy://n.example",
    ]
    assert addresses(None) == addresses("  ") == []


def alert_test(setting: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operator_prices", "alert-test"],
        env={**os.environ, "ALERT_WEBHOOK_URL": setting},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.e2e
def test_the_command_tries_each_address_and_fails_if_one_does() -> None:
    with serving_webhook() as webhook, serving_webhook() as other:
        other.status, other.says = 404, b"no_team: secret"
        done = alert_test(f"{webhook.url} {other.url}")
        assert done.stdout.splitlines() == [
            f"taken    http://127.0.0.1:{webhook.server_port}",
            f"refused  http://127.0.0.1:{other.server_port}: 404 Not Found: no_team: ***",
        ]
        assert (done.returncode, "secret" in done.stdout + done.stderr) == (1, False)
        assert webhook.texts()[0].startswith("Test: alerts of operator-prices arrive here\n")
        assert alert_test(webhook.url).returncode == 0
    none = alert_test("")
    assert (none.returncode, none.stderr.split(":")[0]) == (
        1,
        "ALERT_WEBHOOK_URL is not set, so nobody is told of trouble",
    )
