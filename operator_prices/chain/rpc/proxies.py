"""Which proxy lies before a node: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined] # typeshed does not know the second
    getproxies_environment,
    proxy_bypass_environment,
)

from operator_prices.chain.errors import NodeUnreachableError

SCHEMES = {"ws": "http", "http": "http", "wss": "https", "https": "https"}
"""The scheme whose proxy serves a node's; a WebSocket begins as HTTP."""

PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
"""The kinds of proxies that are spoken to, and the port of each where none is named."""


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A proxy and the variable that names it. Neither text form shows a user or a password."""

    scheme: str
    host: str
    port: int
    user: tuple[str, str]
    """User and password, empty where there are none."""
    variable: str

    @property
    def url(self) -> str:
        """The address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What a request that the proxy is to pass on says to it."""
        return {"Proxy-Authorization": basic_authorization(*self.user)} if self.user[0] else {}

    @property
    def is_http(self) -> bool:
        return self.scheme.startswith("http")

    def __str__(self) -> str:
        return f"the proxy {self.url} of {self.variable}"

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}, {self.variable!r})"


def basic_authorization(user: str, password: str) -> str:
    """The value of an `Authorization` header that names a user and a password."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def proxy_before(url: str, proxies: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy for a node's address, None where it is reached directly, as this machine itself is.

    `proxies` is what the environment says, as `urllib` reads it.
    """
    said = dict(getproxies_environment() if proxies is None else proxies)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_this_machine(host) or proxy_bypass_environment(f"{host}:{parts.port or ''}", said):
        return None
    for scheme in (SCHEMES[parts.scheme], "all"):
        if address := said.get(scheme):
            return _proxy(address, f"{scheme.upper()}_PROXY")
    return None


def _proxy(address: str, variable: str) -> Proxy:
    """The proxy at an address, which is one of HTTP where it says no scheme."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:  # its text repeats what it does not understand
        host = port = None
    if not host or not port or parts.scheme not in PORTS:
        raise NodeUnreachableError(
            f"What {variable} holds is no proxy address: set it to http://, https:// or socks5://"
            " with a host and a port, or name the node's host in NO_PROXY."
        )
    user = (unquote(parts.username or ""), unquote(parts.password or ""))
    return Proxy(parts.scheme, host, port, user, variable)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
