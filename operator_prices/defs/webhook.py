"""What a webhook is told of incidents: one message for all places of the same trouble."""

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from operator import attrgetter
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from psycopg import Connection

from operator_prices.errors import ExplainedError
from operator_prices.store import incidents
from operator_prices.store.incidents import Incident

TIMEOUT_SECONDS = 10

PLACES_NAMED = 5
"""As many places of one message are named; the rest is counted."""


class WebhookError(ExplainedError):
    """The webhook did not take a message; it will be told again."""


def tell(connection: Connection, webhook: str) -> int:
    """Post what has not been told yet, one message for all places of the same trouble.

    What a message says is marked as told once the webhook has taken it. Raises `WebhookError` for
    one that it did not take, after trying the others.
    """
    sent = 0
    refused: WebhookError | None = None
    trouble = attrgetter("what", "link")
    for recovered in (False, True):
        waiting = sorted(incidents.untold(connection, recovered=recovered), key=trouble)
        for _, same in groupby(waiting, key=trouble):
            together = list(same)
            try:
                _post(webhook, message(together, recovered=recovered))
            except WebhookError as error:
                refused = error
                continue
            incidents.mark_told(connection, together, recovered=recovered)
            sent += 1
    if refused is not None:
        raise refused
    return sent


def message(told: Sequence[Incident], *, recovered: bool) -> dict[str, object]:
    r"""What Slack, and all that speak like it, are told of one trouble in some places.

    >>> late = Incident(key="lag", what="9 epochs behind", place="epoch 4", link="http://ui/")
    >>> message([late], recovered=True)["text"]
    'Recovered: 9 epochs behind\nWhere: epoch 4\nhttp://ui/'
    """
    head = f"{'Recovered' if recovered else 'Trouble'}: {told[0].what}"
    places = [one.place for one in told[:PLACES_NAMED]]
    if len(told) > PLACES_NAMED:
        places.append(f"and {len(told) - PLACES_NAMED} more")
    where = f"Where: {'; '.join(places)}"
    head, where = (escape(text, quote=False) for text in (head, where))  # as Slack wants it
    text = f"{head}\n{where}\n{told[0].link}"
    colour = "good" if recovered else "danger"
    return {"text": text, "attachments": [{"color": colour, "text": where, "fallback": head}]}


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
