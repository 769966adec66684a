"""A way by TLS to a server, for client programs of Postgres that are built without it.

They connect to a socket in a closed folder; what they say goes on to the server that a connection
of ours has reached, and by the same rules for certificates as that connection's.
"""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from threading import Thread

from psycopg import Connection

from operator_prices.local.client_programs import ClientProgramError

PORT = 5432
"""The number in the name of the socket."""

ASKING_FOR_TLS = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""How a conversation begins that is to go on by TLS; the server says S or N."""

NEGOTIATED, AUTHENTICATION, MECHANISMS = b"v", b"R", b"\0\0\0\x0a"
"""What the first messages of a server begin with: a version, and how the client may say who it is.
"""

PART = 64 * 2**10

LONG = 60

HOME = Path("~/.postgresql")
"""Where Postgres's own library looks for certificates that nobody names."""

VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}

DEMANDS = {"channel_binding": "require", "sslcrldir": None, "sslcertmode": "require"}
"""What would make a connection safer and is beyond us: an option, or one value of it."""


@contextmanager
def relayed(connection: Connection) -> Iterator["Relay"]:
    """A socket that leads to the connection's server, for as long as it is needed.

    Raises `ClientProgramError` where the connection's options ask for what the relay cannot do.
    """
    with TemporaryDirectory(prefix="operator-prices-", dir=_short()) as folder:
        relay = Relay(connection, Path(folder))
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, name="TLS relay", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(relay.listen(), loop).result()
            try:
                yield relay
            finally:
                asyncio.run_coroutine_threadsafe(relay.end(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def _short() -> str:
    """A folder for temporary files; the path of a socket has about a hundred characters at most."""
    usual = gettempdir()
    return usual if len(usual) < LONG else "/tmp"  # noqa: S108 - a closed folder is made in it


def options(connection: Connection) -> dict[str, str]:
    """What the connection was opened with, also by environment and default."""
    return {one.keyword.decode(): one.val.decode() for one in connection.pgconn.info if one.val}


def require_able(told: Mapping[str, str]) -> None:
    """Raise `ClientProgramError` for an option that makes safer and would not be heeded."""
    for name, value in DEMANDS.items():
        if told.get(name) and value in {None, told[name]}:
            raise ClientProgramError(
                f"The address asks for {name}={told[name]}, and no program of Postgres here is"
                " built with TLS that could heed it: install Postgres's client programs, as new as"
                " the server, or leave it out."
            )


def context(told: Mapping[str, str]) -> ssl.SSLContext:
    """How certificates are looked at, as the options of a connection say."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = VERSIONS[told.get("ssl_min_protocol_version", "TLSv1.2").lower()]
    if newest := told.get("ssl_max_protocol_version"):
        made.maximum_version = VERSIONS[newest.lower()]
    made.check_hostname = told.get("sslmode") == "verify-full"
    root = told.get("sslrootcert") or str(HOME.expanduser() / "root.crt")
    if root == "system":
        made.load_default_certs()
    elif Path(root).exists():
        made.load_verify_locations(root)
        revoked = told.get("sslcrl") or str(HOME.expanduser() / "root.crl")
        if Path(revoked).exists():
            made.load_verify_locations(revoked)
            made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    elif not made.check_hostname and told.get("sslmode") != "verify-ca":
        made.verify_mode = ssl.CERT_NONE  # asked for by a mode that is content without
    certificate = told.get("sslcert") or str(HOME.expanduser() / "postgresql.crt")
    if Path(certificate).exists() and told.get("sslcertmode") != "disable":
        key = told.get("sslkey") or str(HOME.expanduser() / "postgresql.key")
        made.load_cert_chain(certificate, key, told.get("sslpassword", ""))
    if told.get("sslnegotiation") == "direct":
        made.set_alpn_protocols(["postgresql"])
    return made


class Relay:
    """What listens in a folder, and the last trouble on the way to the server."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        told = options(connection)
        require_able(told)
        self.folder = folder
        self.trouble: Exception | None = None
        self._name, self._port = connection.info.host, connection.info.port
        self._place = connection.info.hostaddr or self._name
        self._context = context(told)
        self._asks = told.get("sslnegotiation") != "direct"

    async def listen(self) -> None:
        socket = self.folder / f".s.PGSQL.{PORT}"
        self._listener = await asyncio.start_unix_server(self._taken, socket)

    async def end(self) -> None:
        self._listener.close()
        await asyncio.sleep(0)  # who has just come begins, and so knows what it is to close
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                far_reader, far_writer = await asyncio.open_connection(self._place, self._port)
                with closing(far_writer):
                    await self._secured(far_reader, far_writer)
                    await _joined(reader, writer, far_reader, far_writer)
            except (OSError, EOFError) as error:
                self.trouble = error

    async def _secured(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Go on by TLS. Raises `OSError` where the server or its certificate is not right."""
        if self._asks:
            writer.write(ASKING_FOR_TLS)
            if (said := await reader.read(1)) != b"S":
                how = "does not speak TLS" if said else "ends the connection when asked for TLS"
                raise ConnectionRefusedError(f"{self._name} {how}")
        await writer.start_tls(self._context, server_hostname=self._name)


async def _joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Pass on what either side says, until one of them ends."""
    ways = [
        asyncio.ensure_future(_pump(reader, far_writer)),
        asyncio.ensure_future(_answered(far_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what the server says, but for an offer that needs TLS on the client's side."""
    with suppress(OSError, EOFError):
        kind = NEGOTIATED
        while kind == NEGOTIATED:
            kind = await reader.readexactly(1)
            length = int.from_bytes(await reader.readexactly(4), "big")
            told = await reader.readexactly(length - 4)
            if kind == AUTHENTICATION and told.startswith(MECHANISMS):
                offered = told.removeprefix(MECHANISMS).split(b"\0")
                told = MECHANISMS + b"\0".join(one for one in offered if one[-5:] != b"-PLUS")
            writer.write(kind + (len(told) + 4).to_bytes(4, "big") + told)
            await writer.drain()
    await _pump(reader, writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(PART):
            writer.write(part)
            await writer.drain()
