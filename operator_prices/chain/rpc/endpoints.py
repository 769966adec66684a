"""Where a node answers, and how to say so without what is secret in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from operator_prices.chain.errors import NotASubstrateNodeError
from operator_prices.chain.rpc.proxies import Proxy, basic_authorization, proxy_before


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where a node answers. Neither text form shows a password, a token or a query."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    proxy: Proxy | None = None

    @classmethod
    def parse(cls, url: str, authorization: str | None = None) -> Self:
        """Take user and password out of `url` into an `Authorization` header, and find its proxy.

        A text that is no address is not repeated: who knows what of it is a password.

        >>> str(Endpoint.parse("wss://me:secret@node.example/ws?token=1"))
        'wss://node.example/ws'
        """
        parts = _parts(url)
        headers = {"Authorization": authorization} if authorization else {}
        if parts.username is not None:
            pair = unquote(parts.username), unquote(parts.password or "")
            headers = {"Authorization": basic_authorization(*pair)}
        host = parts.netloc.rpartition("@")[2]
        address = urlunsplit(parts._replace(netloc=host))
        return cls(address, headers, proxy_before(address))

    @classmethod
    def parse_all(cls, urls: str, authorization: str | None = None) -> list[Self]:
        """The endpoints at `urls`, which are separated by commas."""
        return [cls.parse(url.strip(), authorization) for url in urls.split(",")]

    @property
    def is_http(self) -> bool:
        return self.url.startswith("http")

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def __repr__(self) -> str:
        return f"Endpoint({str(self)!r})"


def _parts(url: str) -> SplitResult:
    """The parts of a node's address; an `@` behind the host is the end of a password."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text repeats what it does not understand
        usable = False
    if (
        usable
        and parts.scheme in {"ws", "wss", "http", "https"}
        and "@" not in parts.path + parts.query + parts.fragment
    ):
        return parts
    raise NotASubstrateNodeError(
        "What ARCHIVE_NODE_URL holds is no node address: set it to ws://, wss://, http:// or"
        " https:// URLs, separated by commas, in which a user or password has % codes for"
        " special characters (%40 for @)."
    )
