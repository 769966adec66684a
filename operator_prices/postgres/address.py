"""Addresses of databases as people write them: understood, or explained without the password."""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict

from operator_prices.errors import ExplainedError

SCHEME = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
"""Also of SQLAlchemy, of JDBC, and as of old."""

HOST = r"(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.%-]+)(?::\d{1,5})?"
PLACE = rf"(?P<hosts>{HOST}(?:,{HOST})*)"

WRITTEN = re.compile(
    rf"(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?{PLACE}?"
    r"(?:/(?P<database>[^/?#@]*))?(?:\?(?P<query>[^#]*))?"
)
"""A URL's rest where special characters are written as % codes."""

MEANT = re.compile(
    rf"(?P<user>[^:@/?#]*):(?P<password>.*)@{PLACE}"
    r"(?:/(?P<database>[^/?#@]*))?(?:\?(?P<query>[^#@]*))?",
    re.DOTALL,
)
"""The same where the password has them as they are: it ends at the last @ before a host."""

SECRET = re.compile(r"\bpassword\s*=", re.IGNORECASE)
"""What no part of an address has in it, but one that swallowed the next."""

CODE = re.compile(r"%[0-9A-Fa-f]{2}")

PLACEHOLDER = re.compile(r"\[?your[-_ ]?password\]?", re.IGNORECASE)

OF_OTHERS = frozenset(
    {"pgbouncer", "connection_limit", "pool_timeout", "schema", "statement_cache_size", "supa"}
)
"""Options for other programs' drivers, which say nothing to Postgres."""

KNOWN = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())

FORM = (
    "postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %40 for @, %2F for /, %23 for #, %3F for ?"
    " and %25 for % in the password"
)


class AddressError(ExplainedError):
    """An address that cannot be what was meant; the sentence repeats nothing secret."""


def is_address(text: str) -> bool:
    """Whether the text is meant as the URL of a Postgres."""
    return SCHEME.match(_bare(text)) is not None


def understood(text: str, variable: str = "DATABASE_URL") -> str:
    """The address as Postgres's own library takes it, of what somebody wrote.

    Quotes and blanks around it, the schemes and options of other drivers, and special characters in
    the password are understood. Raises `AddressError`, which names the `variable`.

    >>> understood(" 'postgres://me:p@ss/w#rd@db.example/prices?pgbouncer=true' ")
    'postgresql://me:p%40ss%2Fw%23rd@db.example/prices'
    >>> understood("postgresql+psycopg2://me:100%sure@db.example:5432/prices")
    'postgresql://me:100%25sure@db.example:5432/prices'
    """
    bare = _bare(text)
    scheme = SCHEME.match(bare)
    if scheme is None:
        return _conninfo(bare, variable)
    rest = bare[scheme.end() :]
    ways = [
        found.groupdict()
        for form in (WRITTEN, MEANT)
        if (found := form.fullmatch(rest)) and _fits(found.groupdict())
    ]
    if len(ways) > 1 and "@" in str(ways[0]["query"]):
        raise _error(variable, "an @ after a ? can be read in two ways")
    if ways:
        return _rebuilt(ways[0], variable)
    if (found := WRITTEN.fullmatch(rest)) and "@" not in str(found["query"]):
        strange = sorted(_options(found["query"] or "").keys() - KNOWN - OF_OTHERS)
        raise _error(variable, f"Postgres has no option {', '.join(strange)}")
    raise _error(variable, "its user, password, host, port and database cannot be told apart")


def described(dsn: str) -> str:
    """An address that is `understood`, without its secrets.

    >>> described("postgresql://me:secret@db.example,[::1]:5433/prices")
    'postgresql://me@db.example,[::1]:5433/prices'
    """
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    user = f"{known['user']}@" if known.get("user") else ""
    hosts, ports = known.get("host", "").split(","), known.get("port", "").split(",")
    if len(ports) < len(hosts):
        ports *= len(hosts)
    places = [
        (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        for host, port in zip(hosts, ports, strict=False)
    ]
    return f"postgresql://{user}{','.join(places)}/{known.get('dbname', '')}"


def _bare(text: str) -> str:
    bare = text.strip()
    while len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'`":
        bare = bare[1:-1].strip()
    return bare


def _conninfo(bare: str, variable: str) -> str:
    try:
        known = conninfo_to_dict(bare)
    except Error:
        raise _error(variable, "it does not read as postgresql:// should") from None
    host = str(known.get("host") or "")
    if any(SECRET.search(str(value)) for name, value in known.items() if name != "password"):
        raise _error(variable, "its parts are not told apart by blanks")
    if not (host.startswith(("/", "@")) or re.fullmatch(r"[\w.:%,-]*", host)):
        raise _error(variable, "its host is no name of a machine")
    _require_ports(str(known.get("port") or "").split(","), variable)
    return bare


def _fits(parts: Mapping[str, str | None]) -> bool:
    """Whether a way to read a URL gives options that exist."""
    return _options(parts["query"] or "").keys() <= KNOWN | OF_OTHERS | {"ssl"}


def _options(query: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _rebuilt(parts: Mapping[str, str | None], variable: str) -> str:
    user, password, database = (
        _decoded(parts[name] or "", variable) for name in ("user", "password", "database")
    )
    if PLACEHOLDER.fullmatch(password):
        raise _error(variable, "it still has a placeholder instead of the password")
    hosts = parts["hosts"] or ""
    _require_ports(re.findall(r":(\d+)(?:,|$)", hosts), variable)
    options = _options(parts["query"] or "")
    if options.pop("ssl", "").lower() in {"true", "1"}:
        options.setdefault("sslmode", "require")
    who = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    query = "&".join(
        f"{name}={quote(value, safe='/')}" for name, value in options.items() if name in KNOWN
    )
    address = f"postgresql://{who}{'@' if who else ''}{hosts}/{quote(database, safe='')}"
    return _conninfo(address + (f"?{query}" if query else ""), variable)


def _decoded(text: str, variable: str) -> str:
    """What % codes stand for; a text where none of its % begins a code means what it says."""
    codes = len(CODE.findall(text))
    if codes not in {0, text.count("%")}:
        raise _error(variable, "some % in it begin a code and others do not")
    try:
        return unquote(text, errors="strict") if codes else text
    except UnicodeDecodeError:
        raise _error(variable, "its % codes stand for no text") from None


def _require_ports(ports: list[str], variable: str) -> None:
    if any(not port.isdecimal() or int(port) not in range(1, 65_536) for port in ports if port):
        raise _error(variable, "its port is none from 1 to 65535")


def _error(variable: str, fact: str) -> AddressError:
    fix = f"set it to {FORM}"
    if variable == "DATABASE_URL":
        fix += ", or unset it to use the embedded one"
    return AddressError(f"{variable} is no address of a Postgres ({fact}): {fix}.")
