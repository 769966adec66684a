"""The addresses that alerts go to, of whatever form, each with a label that shows no secret."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from operator_prices.alerts.messages import Message
from operator_prices.alerts.services import Service
from operator_prices.alerts.webhook import Webhook
from operator_prices.errors import ExplainedError

BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""Blanks or a comma, and after it the beginning of an address: others may be part of one."""


class AddressError(ExplainedError):
    """An address that is none, told without what it holds."""


class Address(Protocol):
    """Somebody who can be told something."""

    label: str
    """What its owner knows it by; no part of it is a secret."""

    def send(self, message: Message) -> None:
        """Tell it. Raises `RefusedError` if the message was not taken."""


def addresses(setting: str | None) -> list[Address]:
    """The addresses of `ALERT_WEBHOOK_URL`, no two of which have the same label.

    Raises `AddressError` for one that no service has.
    """
    texts = [text for text in BETWEEN.split((setting or "").strip(" \t\r\n,")) if text]
    found = list(_each(dict.fromkeys(texts)))
    often = Counter[str]()
    for address in found:
        often[address.label] += 1
        if often[address.label] > 1:
            address.label = f"{address.label} ({often[address.label]})"
    return found


def _each(texts: dict[str, None]) -> Iterator[Address]:
    for number, text in enumerate(texts, 1):
        address = Service.at(text) or Webhook.at(text)
        if address is None:
            scheme = text.partition("://")[0] if "://" in text else "no scheme"
            raise AddressError(
                f"Address {number} of ALERT_WEBHOOK_URL ({scheme[:30]}) is none that alerts can be"
                " sent to: write it as docs/alerts.md shows."
            )
        yield address
