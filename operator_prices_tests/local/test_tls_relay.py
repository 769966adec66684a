"""The relay is as strict as Postgres's own library is, and tells what stands in its way."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices.local import backups, tls_relay
from operator_prices.local.client_programs import ClientProgramError
from operator_prices.local.ports import free_port
from operator_prices_tests.support.pgbouncer import needs_pgbouncer, pgbouncer

pytestmark = needs_pgbouncer

PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for home that nobody has put certificates into."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@contextmanager
def behind_tls(
    dsn: str, folder: Path, authority: trustme.CA, port: int | None = None
) -> Iterator[str]:
    """A database behind TLS of version 1.2, by a certificate for `localhost`."""
    issued = authority.issue_cert("localhost")
    certificate, key = folder / "server.pem", folder / "server.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    (folder / "revoked.pem").write_bytes(revoking(authority, certificate.read_bytes()))
    with pgbouncer(
        dsn, "session", client_tls=(certificate, key), client_tls_protocols="tlsv1.2", port=port
    ) as address:
        yield address


def revoking(authority: trustme.CA, certificate: bytes) -> bytes:
    """A list by which the authority takes its certificate back."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = datetime.now(UTC)
    taken_back = (
        x509.RevokedCertificateBuilder()
        .serial_number(x509.load_pem_x509_certificate(certificate).serial_number)
        .revocation_date(now)
        .build()
    )
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(taken_back)
    )
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, trustme.CA]:
    """A folder with the certificate of who vouches for the server, and of somebody else."""
    folder, authority = tmp_path_factory.mktemp("certificates"), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "somebody.pem"))
    return folder, authority


@pytest.fixture(scope="module")
def secured(server: str, certificates: tuple[Path, trustme.CA]) -> Iterator[str]:
    with behind_tls(server, *certificates) as address:
        yield address


def options(told: str) -> dict[str, str]:
    """The options that a text has."""
    return {name: str(value) for name, value in conninfo_to_dict(told).items()}


def of_the_library(address: str, told: dict[str, str]) -> bool:
    """Whether Postgres's own library connects with these options."""
    try:
        psycopg.connect(make_conninfo(address, **told)).close()
    except psycopg.OperationalError:
        return False
    return True


def of_the_relay(address: str, told: dict[str, str]) -> bool:
    """Whether the relay speaks to the server with these options."""
    port = int(options(address)["port"])
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(tls_relay.ASKING_FOR_TLS)
        assert line.recv(1) == b"S"
        try:
            tls_relay.context(told).wrap_socket(line, server_hostname=told["host"]).close()
        except ssl.SSLError:
            return False
    return True


@pytest.mark.parametrize(
    ("fits", "told"),
    [
        (True, "sslmode=require"),
        (True, "sslmode=require sslrootcert=authority.pem"),
        (False, "sslmode=require sslrootcert=somebody.pem"),
        (False, "sslmode=prefer sslrootcert=somebody.pem"),
        (True, "sslmode=verify-ca sslrootcert=authority.pem host=another"),
        (False, "sslmode=verify-ca sslrootcert=somebody.pem"),
        (False, "sslmode=verify-ca sslrootcert=missing.pem"),
        (True, "sslmode=verify-full sslrootcert=authority.pem"),
        (False, "sslmode=verify-full sslrootcert=authority.pem host=another"),
        (False, "sslmode=verify-full sslrootcert=somebody.pem"),
        (False, "sslmode=verify-full sslrootcert=missing.pem"),
        (False, "sslmode=verify-full sslrootcert=system"),
        (False, "sslmode=verify-full sslrootcert=authority.pem sslcrl=revoked.pem"),
        (True, "sslmode=verify-full sslrootcert=authority.pem sslcrl=missing.pem"),
        (False, "sslmode=require ssl_min_protocol_version=TLSv1.3"),
        (True, "sslmode=require ssl_max_protocol_version=TLSv1.2"),
    ],
)
def test_certificates_are_looked_at_as_by_the_library_of_postgres(
    fits: bool,  # noqa: FBT001
    told: str,
    secured: str,
    certificates: tuple[Path, trustme.CA],
) -> None:
    known = {"host": "localhost", "hostaddr": "127.0.0.1", **options(told)}
    for name, value in known.items():
        if value.endswith(".pem"):
            known[name] = str(certificates[0] / value)
    if not fits and "mode=prefer" in told:  # the library then tries again without
        assert not of_the_relay(secured, known)
        return
    assert of_the_library(secured, known) is fits
    assert of_the_relay(secured, known) is fits


def test_the_certificate_in_the_folder_for_home_is_heeded_where_none_is_named(
    secured: str, certificates: tuple[Path, trustme.CA], home: Path
) -> None:
    told = {"host": "localhost", "sslmode": "require"}
    assert (of_the_library(secured, told), of_the_relay(secured, told)) == (True, True)
    (home / ".postgresql").mkdir()
    somebody = (certificates[0] / "somebody.pem").read_bytes()
    (home / ".postgresql" / "root.crt").write_bytes(somebody)
    assert (of_the_library(secured, told), of_the_relay(secured, told)) == (False, False)


@pytest.fixture
def connection(secured: str, certificates: tuple[Path, trustme.CA]) -> Iterator[psycopg.Connection]:
    root = str(certificates[0] / "authority.pem")
    told = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": root}
    with psycopg.connect(make_conninfo(secured, **told)) as connection:
        yield connection


def through(relay: tls_relay.Relay, connection: psycopg.Connection) -> psycopg.Connection:
    """A connection by the relay's socket, without TLS."""
    known = {"host": str(relay.folder), "user": connection.info.user, "dbname": "postgres"}
    return psycopg.connect(make_conninfo("", **known, port=tls_relay.PORT, sslmode="disable"))


def test_a_server_whose_certificate_is_another_by_now_is_not_spoken_to(
    server: str, certificates: tuple[Path, trustme.CA], tmp_path: Path
) -> None:
    root, port = str(certificates[0] / "authority.pem"), free_port()
    with ExitStack() as first:
        address = first.enter_context(behind_tls(server, tmp_path, certificates[1], port))
        told = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": root}
        connection = psycopg.connect(make_conninfo(address, **told))
        with tls_relay.relayed(connection) as relay:
            through(relay, connection).close()
            first.close()
            with behind_tls(server, tmp_path, trustme.CA(), port):
                with pytest.raises(psycopg.OperationalError, match="closed the connection"):
                    through(relay, connection)
                assert isinstance(relay.trouble, ssl.SSLCertVerificationError)
    connection.close()


@pytest.mark.parametrize(
    "told", ["channel_binding=require", "sslcrldir=/etc/revoked", "sslcertmode=require"]
)
def test_what_the_relay_cannot_do_is_refused_and_not_left_out(told: str) -> None:
    with pytest.raises(ClientProgramError, match=f"asks for {told}, and no program") as refused:
        tls_relay.require_able(options(f"sslmode=verify-full {told}"))
    assert "install Postgres's client programs" in str(refused.value)
    tls_relay.require_able(options("sslmode=verify-full channel_binding=prefer"))


def test_a_connection_that_asks_for_more_than_the_relay_can_do_gets_none(secured: str) -> None:
    more = make_conninfo(secured, sslmode="require", sslcrldir="/etc/revoked")
    with (
        psycopg.connect(more) as connection,
        pytest.raises(ClientProgramError, match="sslcrldir=/etc/revoked"),
        tls_relay.relayed(connection),
    ):
        raise AssertionError("it was relayed")


def test_why_the_relay_cannot_listen_is_said(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_relay, "PORT", "long" * 100)
    with pytest.raises(OSError, match="too long"), tls_relay.relayed(connection):
        raise AssertionError("it listens")


def test_a_line_that_leads_to_no_server_is_closed(
    server: str, certificates: tuple[Path, trustme.CA], tmp_path: Path
) -> None:
    port = free_port()
    with behind_tls(server, tmp_path, certificates[1], port) as address:
        connection = psycopg.connect(make_conninfo(address, sslmode="require"))
    with (
        socket.create_server(("127.0.0.1", port)) as listener,
        tls_relay.relayed(connection) as relay,
    ):
        asking = Thread(target=lambda: of_the_library("", {"host": str(relay.folder)}))
        asking.start()
        with listener.accept()[0] as line:
            line.settimeout(PATIENCE_SECONDS)
            assert line.recv(8) == tls_relay.ASKING_FOR_TLS
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b""
        asking.join()
    assert str(relay.trouble) == "127.0.0.1 ends the connection when asked for TLS"
    connection.close()


def test_a_backup_goes_to_the_very_server_of_its_connection(
    dsn: str,
    database: psycopg.Connection,
    certificates: tuple[Path, trustme.CA],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the address that is said beside a name which nobody knows, also by environment."""
    assert database
    with behind_tls(dsn, tmp_path, certificates[1]) as address:
        for mode in ("disable", "require"):
            told = {"host": "nowhere.invalid", "hostaddr": "127.0.0.1", "sslmode": mode}
            assert backups.backup(make_conninfo(address, **told), tmp_path / "said") > 0
            told.pop("hostaddr")
            monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
            assert backups.backup(make_conninfo(address, **told), tmp_path / "set") > 0
            monkeypatch.delenv("PGHOSTADDR")
