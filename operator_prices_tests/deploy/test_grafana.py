"""Grafana's board asks what the role that only reads may ask, and shows what is stored."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import psycopg
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from operator_prices.settings import PROJECT
from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import database, reader

FOLDER = PROJECT / "deploy" / "grafana"
BOARD: dict[str, Any] = json.loads((FOLDER / "operator-prices.json").read_text())
PANELS: dict[str, dict[str, Any]] = {panel["title"]: panel for panel in BOARD["panels"]}
EPOCHS, OPERATORS = 150, 3
SINCE = 20

FORMS = {"time_series": {"time", "metric", "value"}}
"""The columns that a form of answers must have."""


@pytest.fixture(scope="module")
def reading(server: str, migrated: str) -> Iterator[psycopg.Connection]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, EPOCHS - 1, OPERATORS, raw=False)
            connection.execute("UPDATE operators_metadata SET name = 'Zwei' WHERE operator_id = 2")
            for operators, epoch in (([2], SINCE - 10), ([0, 1], 60)):
                connection.execute(
                    "UPDATE operator_shares SET nomination_tax = 30"
                    " WHERE operator_id = ANY (%s) AND epoch >= %s",
                    [operators, epoch],
                )
            connection.execute(
                "UPDATE operator_share_prices SET share_price_perq = 5"
                " WHERE operator_id = 2 AND epoch >= 30"
            )
        with psycopg.connect(reader(dsn), autocommit=True) as connection:
            yield connection


def filled_in(query: str, since: int) -> str:
    """A query as Grafana sends it, with its variables replaced."""
    values = {
        "$__from": str(history.BEGUN + since * history.EPOCH),
        "$__to": str(history.BEGUN + EPOCHS * history.EPOCH),
        "${operator:csv}": "0,2",
        "${still}": "40",
    }
    for name, value in values.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


def answer(
    reading: psycopg.Connection, title: str, since: int = SINCE
) -> tuple[list[str], list[tuple[Any, ...]]]:
    (target,) = PANELS[title]["targets"]
    cursor = reading.execute(filled_in(target["rawSql"], since).encode())
    assert cursor.description is not None
    return [column.name for column in cursor.description], cursor.fetchall()


@pytest.mark.parametrize("title", PANELS)
def test_every_panel_is_answered_in_its_form(reading: psycopg.Connection, title: str) -> None:
    names, rows = answer(reading, title)
    form = PANELS[title]["targets"][0]["format"]
    assert rows
    assert FORMS.get(form, set(names)) == set(names)
    if form == "time_series":
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        assert {row[1] for row in rows} == {"Operator 0", "Zwei"}
        assert len(rows) == 2 * (EPOCHS - SINCE)
        assert all(isinstance(row[2], float) for row in rows)


def test_the_panels_say_what_is_stored(reading: psycopg.Connection) -> None:
    stored = reading.execute(
        "SELECT (stake_per_share(shares_raw, stake_raw, reward_raw, nomination_tax) / 1e18)::float8"
        ", (stake_raw / 1e18)::float8 FROM operator_shares WHERE (epoch, operator_id) = (%s, 2)",
        [EPOCHS - 1],
    ).fetchone()
    assert stored is not None
    assert answer(reading, "Stake per share")[1][-1][2] == stored[0]
    assert answer(reading, "Stake, AI3")[1][-1][2] == stored[1]
    assert answer(reading, "Newest epoch")[1] == [(EPOCHS - 1,)]
    assert answer(reading, "Missing epochs")[1] == [(0,)]
    earned = {row[0]: row for row in answer(reading, "Returns over the time shown")[1]}
    worth = [row[2] for row in answer(reading, "Stake per share")[1] if row[1] == "Zwei"]
    assert earned["Zwei"][1] == pytest.approx(worth[-1] / worth[0] - 1, rel=1e-9)
    assert earned["Zwei"][3] == EPOCHS - SINCE


def test_the_events_are_those_of_the_operators_and_of_the_time_shown(
    reading: psycopg.Connection,
) -> None:
    assert [row[1:] for row in answer(reading, "Events")[1]] == [
        (70, "Zwei", "Share price has not moved for 40 epochs, since epoch 30"),
        (60, "Operator 0", "Nomination tax raised from 0 % to 30 %"),
    ]


def test_a_span_of_less_than_a_day_says_nothing_about_a_year(reading: psycopg.Connection) -> None:
    a_day = EPOCHS - 1 - 86_400_000 // history.EPOCH
    for since, said in ((a_day - 1, True), (a_day, False)):
        years = [row[2] for row in answer(reading, "Returns over the time shown", since)[1]]
        assert [year is not None for year in years] == [said, said]


def test_the_choice_of_operators_names_them(reading: psycopg.Connection) -> None:
    (chosen,) = [one for one in BOARD["templating"]["list"] if one["name"] == "operator"]
    cursor = reading.execute(chosen["query"].encode())
    assert cursor.description is not None
    assert [column.name for column in cursor.description] == ["__text", "__value"]
    assert cursor.fetchall() == [("Operator 0", 0), ("Operator 1", 1), ("Zwei", 2)]


def test_the_board_is_one_that_grafana_takes() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(PANELS) == len(BOARD["panels"])
    known = {one["name"] for one in BOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{(\w+)", json.dumps(BOARD)))
    assert used == known
    for one, other in combinations((panel["gridPos"] for panel in BOARD["panels"]), 2):
        assert one["x"] + one["w"] <= 24
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    (source,) = yaml.safe_load((FOLDER / "datasource.yaml").read_text())["datasources"]
    assert source["type"] == BOARD["panels"][0]["datasource"]["type"]


def test_grafanas_own_types_take_all_that_the_board_says() -> None:
    register_default_plugins()
    assert list(lost(BOARD, understood(BOARD))) == []
    misspelt = {**BOARD, "panels": [{**BOARD["panels"][0], "titel": "Age"}]}
    assert list(lost(misspelt, understood(misspelt))) == ["/panels/0/titel"]


def understood(board: dict[str, Any]) -> object:
    """What Grafana's types for its version 11.6 make of a board."""
    return json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))


def lost(said: object, taken: object, path: str = "") -> Iterator[str]:
    """Where something is said that is not taken, or taken as something else."""
    if isinstance(said, dict) and isinstance(taken, dict):
        for name, value in said.items():
            yield from lost(value, taken.get(name), f"{path}/{name}")
    elif isinstance(said, list) and isinstance(taken, list) and len(said) == len(taken):
        for place, (one, other) in enumerate(zip(said, taken, strict=True)):
            yield from lost(one, other, f"{path}/{place}")
    elif said != taken:
        yield path
