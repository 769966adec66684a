"""Services with a form of their own: Slack, Discord, Telegram, Mattermost, e-mail and others."""

import ast
import logging
import re
from typing import Self
from urllib.parse import urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.plugins import NotifyBase

from operator_prices.alerts.messages import Message
from operator_prices.alerts.refusals import RefusedError
from operator_prices.alerts.secrets import masked, parts, without
from operator_prices.alerts.webhook import AGENT, unlogged

SECONDS = 10
"""How long a service may take over one message, all its requests together."""

TONES = {"bad": NotifyType.FAILURE, "good": NotifyType.SUCCESS, "neutral": NotifyType.INFO}

SAID = re.compile(r"Response Details:\s*(.*)|\w+ Exception: (.*)", re.DOTALL)
CAUSE = re.compile(r"Caused by (.*)\)$", re.DOTALL)

ASSET = AppriseAsset(
    app_id=AGENT,
    app_desc="Share prices of operators",
    app_url="",
    image_path_mask=False,
    image_url_mask="",
    image_url_logo="",
    http_redirects=False,
    service_timeout=SECONDS,
)

# What it logs names addresses with their secrets. It is read of the result, and goes nowhere else.
_log = logging.getLogger("apprise")
_log.setLevel(logging.DEBUG)
_log.addHandler(logging.NullHandler())
_log.propagate = False


class Service:
    """An address of a service that apprise knows."""

    def __init__(self, url: str, plugin: NotifyBase) -> None:
        self.label = _label(plugin)
        self._secrets = parts(url)
        self._sender = Apprise(asset=ASSET)
        self._sender.add(plugin)

    @classmethod
    def at(cls, url: str) -> Self | None:
        """The service at an address; None for one of another kind."""
        plugin = Apprise.instantiate(url, asset=ASSET)
        return cls(url, plugin) if isinstance(plugin, NotifyBase) else None

    def send(self, message: Message) -> None:
        with unlogged():
            result = self._sender.notify(
                title=_unpinging(message.head),
                body=_unpinging(f"{message.body}\n{message.link}"),
                notify_type=TONES[message.tone],
                body_format=NotifyFormat.TEXT,
                log_level=logging.DEBUG,
            )
        if result:
            return
        entries = [(one.level, one.message) for one in result.logs()]
        raise RefusedError(self.label, without(_why(entries), self._secrets))


def _label(plugin: NotifyBase) -> str:
    """The scheme and the host, or the ends of what stands in the place of one."""
    place = urlsplit(plugin.url(privacy=True))
    host = place.netloc.rpartition("@")[2]
    templates: tuple[str, ...] = plugin.templates
    if any("{host}" in template for template in templates) and re.search(r"[.:]", host):
        return f"{place.scheme}://{host}"
    names = [name for name in (host, *place.path.split("/")) if name]
    return f"{place.scheme}://{'/'.join(n if '...' in n else masked(n) for n in names)}"


def _unpinging(text: str) -> str:
    """The same to read, but nobody is called by it."""
    return text.replace("@", "@\u200b")


def _why(entries: list[tuple[str, str]]) -> str:
    """What a service or the way to it has said, of what was logged of a message."""
    warnings = [text for level, text in entries if level in ("WARNING", "ERROR")]
    said = [found for level, text in entries if level == "DEBUG" and (found := SAID.match(text))]
    details = [_text(found[1] or _last(found[2] or "")) for found in said]
    return " ".join(warnings + [one for one in details if one]) or "it does not say why"


def _last(exception: str) -> str:
    found = CAUSE.search(exception)
    return found[1] if found else exception


def _text(written: str) -> str:
    """Bytes that were logged as Python writes them, as text."""
    try:
        value = ast.literal_eval(written)
    except (SyntaxError, ValueError):
        return written
    return value.decode(errors="replace") if isinstance(value, bytes) else written
