"""The kinds of values that settings have: what each takes, and in which form it is kept."""

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import idna
from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationInfo
from pydantic_settings import NoDecode

from operator_prices.postgres.address import understood


def _listed(text: object) -> object:
    """The parts of a text that are separated by commas."""
    return tuple(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def whole(folder: Path) -> Path:
    return folder.expanduser().resolve()


def header(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a line break or the like")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no http or https address")
    return text


def _postgres(text: str, of: ValidationInfo) -> str:
    return understood(text, str(of.field_name).upper())


def _origin(text: str, of: ValidationInfo) -> str:
    """An origin as browsers write it: in lower case, without a default port or a slash."""
    parts = urlsplit(text)
    if text == "*":
        return text
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("is no http or https origin")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("is more than an origin")
    below = "*." if of.field_name == "frame_origins" and parts.hostname.startswith("*.") else ""
    host = below + _host(parts.hostname.removeprefix(below))
    known = parts.port in {None, DEFAULT_PORTS[parts.scheme]}
    return f"{parts.scheme}://{host}" + ("" if known else f":{parts.port}")


def _host(name: str) -> str:
    """The name of a host as browsers write it; what they would not ask anybody for is refused."""
    if ":" in name:
        return f"[{IPv6Address(name)}]"
    written = name if name.isascii() else idna.encode(name, uts46=True).decode()
    if written.rpartition(".")[2].isdecimal():
        return str(IPv4Address(written))
    if not HOST_NAME.fullmatch(written):
        raise ValueError("has no name of a host")
    return written


LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")
DEFAULT_PORTS = {"http": 80, "https": 443}
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=0)]
Url = Annotated[str, AfterValidator(_web_address)]
Origin = Annotated[str, AfterValidator(_origin)]
Origins = Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_listed)]
RootPath = Annotated[
    str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*/?$"), AfterValidator(lambda path: path.rstrip("/"))
]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_listed)]
Operators = Annotated[tuple[Count, ...], NoDecode, BeforeValidator(_listed)]
Postgres = Annotated[str, AfterValidator(_postgres)]

PORT = "a port from 1 to 65535"
HERE = "an address or a name of this machine"
COUNT = "a whole number, zero or more"
URL = "an http:// or https:// address"
POSTGRES = "a postgresql:// URL with % codes for special characters"
