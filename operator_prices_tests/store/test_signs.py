from collections.abc import Iterator
from functools import partial
from threading import Event, Thread
from time import sleep

import psycopg
import pytest

from operator_prices import store
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARES
from operator_prices.epochs.windows import EpochWindow
from operator_prices.store import signs
from operator_prices.store.signs import FencedConnection, GivenUpError, Sign

RUN = "run1"

WINDOW = EpochWindow(0)


@pytest.fixture
def writer(dsn: str, database: psycopg.Connection) -> Iterator[FencedConnection]:
    """The connection of a run that has begun."""
    signs.begin(database, RUN, host="h1", launcher="L", process="p")
    with store.connect(dsn, FencedConnection) as connection:
        connection.run_id = RUN
        yield connection


def sign_of(database: psycopg.Connection, run_id: str = RUN) -> Sign:
    (sign,) = [one for one in signs.all_signs(database) if one.run_id == run_id]
    return sign


def later(database: psycopg.Connection, seconds: float) -> None:
    """As if the last look had been so long ago."""
    database.execute(
        "UPDATE run_signs SET looked_at = looked_at - make_interval(secs => %s)", [seconds]
    )


def looks(database: psycopg.Connection, times: int, *, apart: float) -> Sign:
    for _ in range(times):
        later(database, apart)
        signs.look(database, [])
    return sign_of(database)


@pytest.mark.usefixtures("writer")
def test_a_silence_is_what_was_looked_at_and_ends_with_the_next_sign(
    database: psycopg.Connection,
) -> None:
    signs.look(database, [])
    assert looks(database, 4, apart=6).silence == pytest.approx(24, abs=1)
    signs.renew(database, RUN)
    assert looks(database, 1, apart=6).silence == pytest.approx(0, abs=1)
    assert looks(database, 1, apart=6).silence == pytest.approx(6, abs=1)


@pytest.mark.usefixtures("writer")
def test_a_silence_begins_with_the_last_sign_and_not_with_the_look_that_sees_it(
    database: psycopg.Connection,
) -> None:
    signs.look(database, [])
    signs.renew(database, RUN)
    database.execute("UPDATE run_signs SET given_at = given_at - INTERVAL '4 s'")
    assert looks(database, 1, apart=5).silence == pytest.approx(4, abs=1)
    signs.renew(database, RUN)
    database.execute("UPDATE run_signs SET given_at = given_at - INTERVAL '10 minutes'")
    assert looks(database, 1, apart=600).silence == signs.COUNTED_SECONDS


@pytest.mark.usefixtures("writer")
def test_a_database_that_was_away_for_a_minute_makes_nobody_silent(
    database: psycopg.Connection,
) -> None:
    signs.look(database, [])
    assert looks(database, 1, apart=60).silence <= signs.COUNTED_SECONDS + 1
    assert looks(database, 2, apart=5).silence < signs.SILENT_SECONDS


def test_a_run_that_never_gave_a_sign_is_silent_from_the_first_look_on(
    database: psycopg.Connection,
) -> None:
    (first,) = signs.look(database, [RUN])
    assert first.silence < 1
    silent = looks(database, 5, apart=6)
    assert silent.silence >= signs.SILENT_SECONDS
    assert silent.host == ""
    signs.begin(database, RUN, host="h1", launcher="L", process="p")
    assert looks(database, 1, apart=6).silence < 1


@pytest.mark.usefixtures("writer")
def test_a_run_that_gives_a_sign_at_the_last_moment_is_not_given_up(
    database: psycopg.Connection,
) -> None:
    silent = looks(database, 5, apart=6)
    signs.renew(database, RUN)
    assert not signs.give_up(database, silent)
    assert not sign_of(database).given_up


def test_a_run_that_was_given_up_gives_no_sign_and_does_not_begin_again(
    database: psycopg.Connection, writer: FencedConnection
) -> None:
    assert signs.give_up(database, sign_of(database))
    assert not signs.renew(database, RUN)
    with pytest.raises(GivenUpError, match=r"run1 gave no sign of life .* another run has taken"):
        signs.begin(database, RUN, host="h1", launcher="L", process="p")
    with pytest.raises(GivenUpError):
        writer.execute("SELECT 1")
    signs.end(database, RUN)
    assert sign_of(database).given_up, "its end does not let it write again"


def test_a_run_that_is_forgotten_may_not_write_either(
    database: psycopg.Connection, writer: FencedConnection
) -> None:
    signs.forget(database, RUN)
    with pytest.raises(GivenUpError):
        writer.execute("SELECT 1")


def test_no_write_of_a_run_that_was_given_up_changes_anything(
    database: psycopg.Connection, writer: FencedConnection
) -> None:
    database.execute("INSERT INTO operators_metadata (operator_id) VALUES (0)")
    shares = store.read(database, OPERATOR_SHARES, WINDOW)
    operators = normalized.operators_metadata(
        normalized.decoded(store.read(database, EPOCHS, WINDOW))
    )
    signs.give_up(database, sign_of(database))
    for write in (
        partial(store.name_operator, writer, 0, "after", None),
        partial(store.doubt, writer, [7]),
        partial(store.keep_counts, writer, 7, {"deposits": 1}),
        partial(store.refresh_analytics, writer, WINDOW),
        partial(store.merge_operators, writer, operators),
        partial(store.write, writer, OPERATOR_SHARES, shares),
    ):
        with pytest.raises(GivenUpError):
            write()
    assert database.execute("SELECT name FROM operators_metadata").fetchall() == [(None,)]


def test_what_a_run_has_in_hand_when_it_is_given_up_is_undone_and_its_locks_are_free(
    database: psycopg.Connection, writer: FencedConnection
) -> None:
    database.execute("INSERT INTO operators_metadata (operator_id) VALUES (0)")

    def freeze_half_way() -> None:
        with writer.transaction():
            store.name_operator(writer, 0, "half", None)
            assert signs.give_up(database, sign_of(database))
            database.execute("SET lock_timeout = '1s'")
            assert store.name_operator(database, 0, "another's", None)
            writer.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError):
        freeze_half_way()
    assert database.execute("SELECT name FROM operators_metadata").fetchall() == [("another's",)]


def test_a_run_that_lives_writes_and_reads_as_ever(
    database: psycopg.Connection, writer: FencedConnection
) -> None:
    database.execute("INSERT INTO operators_metadata (operator_id) VALUES (0)")
    with writer.transaction(), writer.transaction():
        store.name_operator(writer, 0, "inner", None)
    with writer.transaction(force_rollback=True):
        store.name_operator(writer, 0, "never", None)
    assert writer.execute("SELECT name FROM operators_metadata").fetchall() == [("inner",)]


def test_the_transactions_of_other_runs_are_left_alone(
    dsn: str, database: psycopg.Connection, writer: FencedConnection
) -> None:
    signs.begin(database, "run2", host="h2", launcher="L", process="p")
    with store.connect(dsn, FencedConnection) as other:
        other.run_id = "run2"
        with other.transaction():
            signs.give_up(database, sign_of(database))
            assert other.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(GivenUpError):
        writer.execute("SELECT 1")


def test_signs_are_given_until_the_run_is_given_up_whenever_the_database_answers(
    dsn: str, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "EVERY_SECONDS", 0.02)
    signs.begin(database, RUN, host="h1", launcher="L", process="p")
    tries: list[int] = []

    def connect() -> psycopg.Connection:
        tries.append(1)
        if len(tries) == 3:
            raise psycopg.OperationalError("the database is away")
        return store.connect(dsn)

    giving = Thread(target=signs.renew_until, args=(Event(), connect, RUN))
    giving.start()
    while sign_of(database).signs < 6:
        sleep(0.01)
    assert len(tries) > sign_of(database).signs - 1, "one of them was lost"
    database.execute("UPDATE run_signs SET given_up_at = now()")
    giving.join(timeout=10)
    assert not giving.is_alive(), "a run that was given up stops giving signs by itself"
