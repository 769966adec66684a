"""Ports of this machine: who listens, who may, and whether a server answers."""

import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

import psutil

from operator_prices.errors import ExplainedError

LOOPBACK = "127.0.0.1"


class PortInUseError(ExplainedError):
    """Someone else listens where we want to."""


def listening(host: str, port: int) -> Callable[[], bool]:
    """A probe for a server that accepts connections."""

    def probe() -> bool:
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
        return False

    return probe


def answering(host: str, port: int, path: str = "/") -> Callable[[], bool]:
    """A probe for a web server that answers without an error."""

    def probe() -> bool:
        connection = HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 400  # noqa: PLR2004
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return probe


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on right now."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def reached_at(host: str) -> str:
    """The address at which this machine reaches a server of its own that listens on `host`.

    >>> reached_at("0.0.0.0"), reached_at("::"), reached_at("10.0.0.7")
    ('127.0.0.1', '::1', '10.0.0.7')
    """
    return {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}.get(host, host)  # noqa: S104


def url_of(host: str, port: int) -> str:
    """What a person on this machine types to reach a web server.

    >>> url_of("::", 3000)
    'http://[::1]:3000'
    """
    reached = reached_at(host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def is_reachable_from_elsewhere(host: str) -> bool:
    """Whether whoever listens on `host` may be reached from other machines.

    >>> [is_reachable_from_elsewhere(host) for host in ("127.0.0.1", "localhost", "0.0.0.0", "::1")]
    [False, False, True, False]
    """
    with suppress(OSError):
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return not all(ip_address(where[0]).is_loopback for *_, where in found)
    return True


def require_port_free(host: str, port: int, option: str) -> None:
    """Raise PortInUseError, which names the user of the port and `option` as the way out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = f"{option.partition('_')[0]}_HOST"
    try:
        socket.create_server((host, port), family=family).close()
    except PermissionError:
        raise PortInUseError(
            f"Port {port} on {host} is only for root; set {option} to one above 1023."
        ) from None
    except OSError as error:
        if not listening(reached_at(host), port)():
            raise PortInUseError(
                f"Nobody can listen on port {port} of {host} ({error.strerror});"
                f" set {option} or {address} to another."
            ) from error
        raise PortInUseError(
            f"Port {port} on {host} is in use{_listener(port)}; free it or set {option}."
        ) from None


def _listener(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            here = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if here and connection.pid is not None:
                return f" (by {process_name(psutil.Process(connection.pid))})"
    return ""


def process_name(process: psutil.Process) -> str:
    """What a person knows a process by."""
    with suppress(psutil.Error):
        return f"pid {process.pid} {process.name()}"
    return f"pid {process.pid}"
