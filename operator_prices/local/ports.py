"""Ports of this machine: who listens, who may, and whether a server answers."""

import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

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


def require_port_free(host: str, port: int, option: str) -> None:
    """Raise PortInUseError, which names the user of the port and `option` as the way out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except PermissionError:
        raise PortInUseError(
            f"Port {port} on {host} is only for root; set {option} to one above 1023."
        ) from None
    except OSError as error:
        if not listening(host, port)():
            raise PortInUseError(
                f"Nobody can listen on port {port} of {host} ({error.strerror});"
                f" set {option} to another."
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
