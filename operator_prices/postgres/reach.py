"""Why a server was not reached, in words that name the way out."""

import socket
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict


def reason(dsn: str, error: psycopg.Error) -> str:
    """What the error says in one line, or what lies behind it where the machine has no IPv6."""
    host = str(conninfo_to_dict(dsn).get("host") or "")
    if isinstance(error, psycopg.OperationalError) and host and needs_ipv6(host):
        return (
            f"{host} has an IPv6 address alone and this machine reaches IPv4 alone, so use the"
            " address of its session pooler, port 5432, which at Supabase has IPv4"
        )
    return " ".join(str(error).split())


def needs_ipv6(host: str) -> bool:
    """Whether a host has only IPv6 addresses, none of which this machine has a way to."""
    try:
        found = socket.getaddrinfo(host, 5432, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return all(family == socket.AF_INET6 and not _routed(place) for family, *_, place in found)


def _routed(place: tuple[Any, ...]) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(place)  # which sends nothing
        except OSError:
            return False
    return True
