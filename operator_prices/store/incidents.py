"""Incidents: what is wrong is kept once until it is over, and told to a webhook both times."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import attrgetter
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from psycopg import Connection
from psycopg.rows import class_row

from operator_prices.errors import ExplainedError

TIMEOUT_SECONDS = 10

SHOWN = 5
"""As many places of one message are named; the rest is counted."""


class WebhookError(ExplainedError):
    """The webhook did not take a message; it will be told again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that is wrong. `key` says what it is, so that it is reported once."""

    key: str
    what: str
    place: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Untold(Incident):
    id: int
    told: bool
    """Its beginning has been told, its end has not."""


def begin(connection: Connection, incidents: Iterable[Incident]) -> int:
    """Keep the incidents that are not open already; return how many are new."""
    return sum(
        connection.execute(
            "INSERT INTO alert_incidents (key, what, place, link) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (key) WHERE recovered_at IS NULL DO NOTHING",
            [one.key, one.what, one.place, one.link],
        ).rowcount
        for one in incidents
    )


def recover(connection: Connection, keys: Iterable[str]) -> int:
    """Close the open incidents of these keys; return how many there were."""
    return connection.execute(
        "UPDATE alert_incidents SET recovered_at = now()"
        " WHERE recovered_at IS NULL AND key = ANY (%s)",
        [list(keys)],
    ).rowcount


def tell(connection: Connection, webhook: str) -> int:
    """Post what has not been told yet, one message for all places of the same trouble.

    What a message says is marked as told once the webhook has taken it. Raises `WebhookError` for
    one that it did not take, after trying the others.
    """
    sent = 0
    refused: WebhookError | None = None
    for told, column in ((False, "told_at"), (True, "recovery_told_at")):
        trouble = attrgetter("what", "link")
        for _, same in groupby(sorted(_untold(connection, told=told), key=trouble), key=trouble):
            incidents = list(same)
            try:
                _post(webhook, message(incidents, recovered=told))
            except WebhookError as error:
                refused = error
                continue
            connection.execute(
                f"UPDATE alert_incidents SET {column} = now() WHERE id = ANY (%s)",  # noqa: S608
                [[one.id for one in incidents]],
            )
            sent += 1
    if refused is not None:
        raise refused
    return sent


def message(incidents: Sequence[Incident], *, recovered: bool) -> dict[str, object]:
    r"""What Slack, and all that speak like it, are told of one trouble in some places.

    >>> late = Incident(key="lag", what="9 epochs behind", place="epoch 4", link="http://ui/")
    >>> message([late], recovered=True)["text"]
    'Recovered: 9 epochs behind\nWhere: epoch 4\nhttp://ui/'
    """
    head = f"{'Recovered' if recovered else 'Trouble'}: {incidents[0].what}"
    places = [one.place for one in incidents[:SHOWN]]
    if len(incidents) > SHOWN:
        places.append(f"and {len(incidents) - SHOWN} more")
    where = f"Where: {'; '.join(places)}"
    head, where = (escape(text, quote=False) for text in (head, where))  # as Slack wants it
    text = f"{head}\n{where}\n{incidents[0].link}"
    colour = "good" if recovered else "danger"
    return {"text": text, "attachments": [{"color": colour, "text": where, "fallback": head}]}


def _untold(connection: Connection, *, told: bool) -> list[_Untold]:
    """What was never told is left out once it is over for a day: nobody needs to know by then."""
    condition = (
        "told_at IS NOT NULL AND recovered_at IS NOT NULL AND recovery_told_at IS NULL"
        if told
        else "told_at IS NULL AND coalesce(recovered_at, now()) > now() - INTERVAL '1 day'"
    )
    with connection.cursor(row_factory=class_row(_Untold)) as cursor:
        query = (
            f"SELECT id, key, what, place, link, told_at IS NOT NULL AS told"  # noqa: S608
            f" FROM alert_incidents WHERE {condition} ORDER BY id"
        )
        return cursor.execute(query.encode()).fetchall()


def _post(webhook: str, body: dict[str, object]) -> None:
    place = urlsplit(webhook)
    if place.scheme not in ("http", "https"):
        raise WebhookError("ALERT_WEBHOOK_URL is no http or https address: correct it.")
    request = Request(  # noqa: S310 - the scheme is checked
        webhook, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            pass
    except (URLError, TimeoutError, ConnectionError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise WebhookError(
            f"The webhook at {place.hostname} did not take an alert ({error}): it is told again at"
            " the next tick; correct ALERT_WEBHOOK_URL if this stays."
        ) from error
