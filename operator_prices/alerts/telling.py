"""Who is told what is still to be told, and that it was told: once to each address."""

import random
import time
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from psycopg import Connection

from operator_prices.alerts.addresses import Address
from operator_prices.alerts.messages import message
from operator_prices.alerts.refusals import RefusedError
from operator_prices.store import incidents

WITHIN_SECONDS = 15
"""After so long no further message is begun: the last one may take as long, and a tick has 60 s."""


def tell(connection: Connection, told: Sequence[Address], *, within: float = WITHIN_SECONDS) -> int:
    """Tell each address what it has not been told yet; return how many messages were taken.

    What a message says is marked as told to an address once that has taken it. After `within`
    seconds no further message is begun, and none to an address that has used up its part of them:
    the next call tells the rest. Addresses have another order at each call, so that none always
    comes after those that do not answer. Raises `RefusedError` for a message that was not taken,
    after trying the others.
    """
    sent = 0
    refused: RefusedError | None = None
    end = time.monotonic() + within
    for address in random.sample(told, len(told)):
        now = time.monotonic()
        if now >= end:
            break
        until = min(end, now + within / len(told))
        try:
            sent += _tell(connection, address, [one.label for one in told], until)
        except RefusedError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return sent


def _tell(connection: Connection, address: Address, all_labels: list[str], until: float) -> int:
    sent = 0
    refused: RefusedError | None = None
    trouble = attrgetter("kind", "what", "link")
    for recovered in (False, True):
        waiting = incidents.untold(connection, address.label, recovered=recovered)
        for _, same in groupby(sorted(waiting, key=trouble), key=trouble):
            if time.monotonic() > until:
                break
            together = list(same)
            try:
                address.send(message(together, recovered=recovered))
            except RefusedError as error:
                refused = error
                continue
            incidents.mark_told(
                connection, together, address.label, recovered=recovered, of=all_labels
            )
            sent += 1
    if refused is not None:
        raise refused
    return sent
