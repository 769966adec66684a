"""What happens to operators is found in the tables, and once, in whatever order epochs come."""

import random
from hashlib import md5
from itertools import pairwise

import psycopg
import pytest

from operator_prices.store import events
from operator_prices_tests.support import history

OWNER = "su" + md5(b"0", usedforsecurity=False).hexdigest()
"""Of operator 0."""

Told = list[tuple[int, int, str, str]]


def changed(database: psycopg.Connection, operator: int, since: int, what: str) -> None:
    """Have something be so in all epochs of an operator since one of them."""
    database.execute(
        f"UPDATE operator_shares SET {what} WHERE operator_id = %s AND epoch >= %s",  # noqa: S608
        [operator, since],
    )


def standing(database: psycopg.Connection, operator: int, first: int, last: int) -> None:
    """Have the price of an operator not move in these epochs."""
    database.execute(
        "UPDATE operator_share_prices SET share_price_perq = 7"
        " WHERE operator_id = %s AND epoch BETWEEN %s AND %s",
        [operator, first, last],
    )


def gone(database: psycopg.Connection, operator: int, since: int) -> None:
    for table in ("operator_shares", "operator_share_prices"):
        database.execute(
            f"DELETE FROM {table} WHERE operator_id = %s AND epoch >= %s",  # noqa: S608
            [operator, since],
        )


def told(found: list[events.Event]) -> Told:
    return [(one.epoch, one.operator_id, one.kind, one.what) for one in found]


def all_of(database: psycopg.Connection, first: int, last: int, operator: int | None) -> Told:
    return database.execute(
        "SELECT epoch::integer, operator_id, kind, what FROM operator_events(%s, %s, %s, 10)",
        [first, last, operator],
    ).fetchall()


@pytest.fixture
def eventful(database: psycopg.Connection) -> psycopg.Connection:
    history.write(database, 5, 59, 4)
    changed(database, 0, 20, "nomination_tax = 9")
    changed(database, 0, 30, "nomination_tax = 4")
    changed(database, 0, 33, "owned_by = 'suNew'")
    database.execute("UPDATE operator_shares SET owned_by = NULL WHERE epoch BETWEEN 33 AND 34")
    changed(database, 1, 25, "status = 'PendingSlash'")
    gone(database, 1, 27)
    changed(database, 2, 40, "status = 'Deregistered'")
    database.execute("UPDATE operator_shares SET status = NULL WHERE epoch BETWEEN 39 AND 40")
    standing(database, 3, 12, 23)
    standing(database, 3, 40, 49)
    standing(database, 2, 45, 59)
    database.execute("DELETE FROM operator_shares WHERE operator_id = 3 AND epoch < 7")
    return database


def test_everything_that_happened_to_an_operator_is_found(eventful: psycopg.Connection) -> None:
    assert [all_of(eventful, 0, 59, operator) for operator in range(4)] == [
        [
            (5, 0, "known", "Already registered in the first stored epoch"),
            (20, 0, "taxRaised", "Nomination tax raised from 0 % to 9 %"),
            (30, 0, "taxLowered", "Nomination tax lowered from 9 % to 4 %"),
            (35, 0, "ownerChanged", f"Owner changed from {OWNER} to suNew"),
        ],
        [
            (5, 1, "known", "Already registered in the first stored epoch"),
            (25, 1, "slashed", "Status changed from registered to slash pending: slashed"),
            (27, 1, "gone", "Gone: epoch 26 was its last, the chain keeps no entry of it since"),
        ],
        [
            (5, 2, "known", "Already registered in the first stored epoch"),
            (41, 2, "status", "Status changed from registered to deregistered"),
        ],
        [
            (7, 3, "registered", "Registered: its first epoch, registered"),
            (22, 3, "priceStill", "Share price has not moved for 10 epochs, since epoch 12"),
        ],
    ]


@pytest.mark.parametrize("step", [1, 7, 60])
def test_looking_by_parts_finds_what_looking_at_once_does(
    eventful: psycopg.Connection, step: int
) -> None:
    parts = [
        one
        for first in range(0, 60, step)
        for one in all_of(eventful, first, min(first + step - 1, 59), None)
    ]
    assert sorted(parts) == sorted(one for op in range(4) for one in all_of(eventful, 0, 59, op))


def test_an_operator_is_gone_only_where_an_epoch_is_complete_and_published(
    database: psycopg.Connection,
) -> None:
    history.write(database, 0, 9, 2)
    gone(database, 1, 7)
    database.execute("UPDATE epochs SET complete = false WHERE epoch = 7")
    database.execute("DELETE FROM epoch_documents WHERE epoch = 8")
    assert [one[:3] for one in all_of(database, 1, 9, 1)] == [(9, 1, "gone")]


def test_what_is_older_than_the_first_look_is_history_and_later_events_are_had_once(
    database: psycopg.Connection,
) -> None:
    assert events.fresh(database, 10) == [], "nobody has begun to look"
    events.begin(database, 49)
    history.write(database, 0, 59, 2)
    for since in (20, 50, 55):
        changed(database, 1, since, f"nomination_tax = {since}")
    events.begin(database, 59)  # does nothing any more
    assert told(events.fresh(database, 10)) == [
        (50, 1, "taxRaised", "Nomination tax raised from 20 % to 50 %"),
        (55, 1, "taxRaised", "Nomination tax raised from 50 % to 55 %"),
    ]
    assert events.fresh(database, 10) == []
    changed(database, 0, 10, "status = 'Slashed'")  # an old epoch is read again
    assert events.fresh(database, 10) == []


def test_an_epoch_waits_for_those_before_it_unless_they_never_come(
    database: psycopg.Connection,
) -> None:
    history.write(database, 0, 9, 1)
    events.begin(database, 9)
    history.write(database, 12, 20, 1)
    changed(database, 0, 11, "nomination_tax = 11")
    assert events.fresh(database, 10) == []
    history.write(database, 11, 11, 1)
    changed(database, 0, 11, "nomination_tax = 11")
    assert events.fresh(database, 10) == []
    database.execute("INSERT INTO skipped_epochs (epoch, reason) VALUES (10, 'a test')")
    assert [one[:2] for one in told(events.fresh(database, 10))] == [(11, 0)]
    history.write(database, 30, 40, 1)
    changed(database, 0, 30, "nomination_tax = 12")
    assert events.fresh(database, 10) == []
    history.write(database, 41, 30 + events.PATIENCE, 1)
    changed(database, 0, 30, "nomination_tax = 12")
    assert [one[:3] for one in told(events.fresh(database, 0))] == [(30, 0, "taxRaised")]


def test_the_price_is_asked_for_only_where_it_is_wanted(database: psycopg.Connection) -> None:
    history.write(database, 0, 30, 1)
    standing(database, 0, 3, 30)
    events.begin(database, 2)
    database.execute("UPDATE alert_events_seen SET epoch = 2")
    with database.transaction(force_rollback=True):
        assert events.fresh(database, 0) == []
    assert [one.place for one in events.fresh(database, 10)] == [
        "Epoch 13, which ended at 2023-11-15 00:42 UTC"
    ]


STATES: list[tuple[str, list[str | int | None]]] = [
    ("status", [*["Registered"] * 9, "Slashed", "PendingSlash", "Deregistered", None]),
    ("nomination_tax", [*[5] * 9, 3, 7, None, None]),
    ("owned_by", [*["suA"] * 9, "suB", "suC", None, None]),
]


def expected(rows: list[tuple[int, int | None, dict[str, str | int | None]]], still: int) -> Told:
    """What has happened by the rows of one operator (epoch, price, state), told another way."""
    found = []
    for name, _ in STATES:
        known = [(epoch, state[name]) for epoch, _, state in rows if state[name] is not None]
        for (_, before), (epoch, after) in pairwise(known):
            if before != after:
                found.append((epoch, name, f"{before} {after}"))
    run: list[int] = []
    last = None
    for epoch, price, state in rows:
        if price is None:
            continue
        run, last = [*(run if price == last else []), epoch], price
        due = [one for one in run if one >= run[0] + still]
        if due == [epoch] and state["status"] in {None, "Registered"}:
            found.append((epoch, "price", f"{run[0]} {price}"))
    return [(epoch, 0, kind, what) for epoch, kind, what in sorted(found)]


@pytest.mark.parametrize("seed", range(3))
def test_in_whatever_way_states_and_prices_change_all_events_are_found_and_no_others(
    database: psycopg.Connection, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    history.write(database, 0, 199, 1, raw=False)
    rows = []
    for epoch in range(200):
        price = None if chance.random() < seed / 4 else chance.choice([7] * 20 + [8, 9])
        state = {name: chance.choice(values) for name, values in STATES}
        if epoch < 15:  # it stands from the first one on
            price, state["status"] = 7, "Registered"
        elif epoch in range(100, 117):  # nobody knows whether it stood, until it has moved
            price, state["status"] = {100: 5, 116: 6}.get(epoch), "Registered"
        rows.append((epoch, price, state))
        database.execute(
            "UPDATE operator_shares SET status = %(status)s, nomination_tax = %(nomination_tax)s,"
            " owned_by = %(owned_by)s WHERE epoch = %(epoch)s",
            {**state, "epoch": epoch},
        )
        database.execute(
            "DELETE FROM operator_share_prices WHERE epoch = %s"
            if price is None
            else "UPDATE operator_share_prices SET share_price_perq = %s WHERE epoch = %s",
            [epoch] if price is None else [price, epoch],
        )
    kinds = "CASE WHEN kind IN ('status', 'slashed') THEN 'status' WHEN kind LIKE 'tax%%' THEN"
    found = database.execute(
        f"SELECT epoch::integer, operator_id, {kinds} 'nomination_tax' WHEN kind = 'ownerChanged'"  # noqa: S608
        " THEN 'owned_by' ELSE 'price' END, before || ' ' || after"
        " FROM operator_events(0, 199, 0, 10) WHERE kind <> 'known'"
    ).fetchall()
    assert sorted(found) == expected(rows, 10)
    assert len(found) > 50
    assert any(kind == "price" for _, _, kind, _ in found)
