"""Any address is what was meant, or is explained without a part of its password."""

import string
import traceback
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from operator_prices.postgres.address import AddressError, described, understood

MEANT = {"user": "me", "password": "p@s/s#w?o", "host": "db.example", "dbname": "prices"}

UNDERSTOOD = [
    "postgresql://me:p%40s%2Fs%23w%3Fo@db.example/prices",
    "postgresql://me:p@s/s#w?o@db.example/prices",
    "postgres://me:p@s/s#w?o@db.example/prices",
    "postgresql+psycopg2://me:p@s/s#w?o@db.example/prices",
    "postgresql+asyncpg://me:p%40s%2Fs%23w%3Fo@db.example/prices",
    "postgresql://me:p@s/s#w?o@db.example/prices?pgbouncer=true&connection_limit=1",
    "  postgresql://me:p@s/s#w?o@db.example/prices\n",
    '"postgresql://me:p@s/s#w?o@db.example/prices"',
    "' postgresql://me:p@s/s#w?o@db.example/prices '",
    "jdbc:postgresql://db.example/prices?user=me&password=p%40s%2Fs%23w%3Fo",
]

EXPLAINED = [
    ("mysql://me:hush-hush@db.example/prices", "does not read"),
    ("postgresql//me:hush-hush@db.example/prices", "does not read"),
    ("me:hush-hush@db.example/prices", "does not read"),
    ("hush-hush", "does not read"),
    ("postgresql://me:hush-hush@db.example:here/prices", "cannot be told apart"),
    ("postgresql://me:hush-hush@db.example:99999/prices", "port"),
    ("postgresql://me:hush-hush@db.example/prices?nothing=5", "no option nothing"),
    ("postgresql://me:hush-hush%41%zz@db.example/prices", "begin a code"),
    ("postgresql://me:hush-hush%ff@db.example/prices", "no text"),
    ("postgresql://me:hush-hush%00@db.example/prices", "does not read"),
    ("postgresql://me:[YOUR-PASSWORD]@db.example/prices", "placeholder"),
    ("postgresql://me:hush@hush?sslmode=x@db.example/prices", "two ways"),
    ("host=db.example password=hush-hush port=http", "port"),
    ("host=me@db.example password=hush-hush", "host"),
    ("host=db.example password='hush-hush", "does not read"),
    ("user=me,password=hush-hush,host=db.example", "told apart by blanks"),
    ("host=db.example;user=me;password=hush-hush", "told apart by blanks"),
]


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_what_was_meant_is_understood(text: str) -> None:
    assert conninfo_to_dict(understood(text)) == MEANT


@pytest.mark.parametrize(("text", "fact"), EXPLAINED)
def test_what_cannot_be_meant_is_explained_in_one_sentence_without_the_password(
    text: str, fact: str
) -> None:
    with pytest.raises(AddressError, match=fact) as refused:
        understood(text, "API_DATABASE_URL")
    told = "".join(traceback.format_exception(refused.value, limit=0))
    assert "API_DATABASE_URL" in told
    assert "hush" not in told
    assert str(refused.value).endswith("in the password.")
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_percent_sign_that_begins_no_code_is_one() -> None:
    known = conninfo_to_dict(understood("postgresql://me:100%sure@db.example/prices"))
    assert known["password"] == "100%sure"  # noqa: S105


def test_what_two_machines_and_a_socket_are_reached_by_is_kept() -> None:
    two = understood("postgresql://me@[::1]:5433,db.example/prices?target_session_attrs=read-write")
    assert conninfo_to_dict(two) == {
        "user": "me",
        "host": "::1,db.example",
        "port": "5433,",
        "dbname": "prices",
        "target_session_attrs": "read-write",
    }
    socket = understood("postgresql://me:@/prices?host=/run/postgres")
    assert conninfo_to_dict(socket) == {"user": "me", "host": "/run/postgres", "dbname": "prices"}
    assert understood("host=/run/postgres dbname=prices") == "host=/run/postgres dbname=prices"


PASSWORDS = st.text(
    string.ascii_letters + string.digits + "@/#?%:&=+ \\'\"!$*()[]{}<>;,.~ü", min_size=4
)


@given(PASSWORDS)
@example("12?sslmode=a")
@example("p@host/db?sslmode=a")
@example("5432/ss")
def test_any_password_is_understood_or_not_repeated(password: str) -> None:
    for written in (password, quote(password, safe="")):
        text = f"postgresql://me:{written}@db.example:5432/prices?sslmode=require"
        address, refused = None, ""
        try:
            address = understood(text)
        except AddressError as error:
            refused = str(error)
        if address is None:
            assert written == password, "with codes it is always understood"
            assert not any(part in refused for part in (password, quote(password)))
        else:
            known = conninfo_to_dict(address)
            assert known.get("password") in {password, unquote(password)}
            assert (known["host"], known["port"]) == ("db.example", "5432")
            assert described(address) == "postgresql://me@db.example:5432/prices"
