"""Upgrades without a gap: old code runs on beside each migration, until it is replaced, too."""

import shutil
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from operator_prices.store import migrations, objects
from operator_prices_tests.support.catalogue import Catalogue, catalogue, taken_away

FIRST_OF_SEVERAL = "12_create_run_signs"
"""The migration of the first version that runs on several machines."""


def files() -> list[Path]:
    """The migrations that are held to the rule, in order."""
    forward = [file for file in objects.SQL.glob("[0-9]*.sql") if ".rollback" not in file.name]
    return sorted(file for file in forward if file.stem > FIRST_OF_SEVERAL)


@pytest.fixture
def steps(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Catalogue]:
    """The catalogue before the first of these migrations, and after each."""
    newer, all_of_them = files(), objects.SQL
    shutil.copytree(all_of_them, tmp_path / "sql")
    monkeypatch.setattr(objects, "SQL", tmp_path / "sql")
    for one in newer:
        (tmp_path / "sql" / one.name).unlink()
    seen = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for file in (None, *newer):
            if file is not None:
                shutil.copy(file, tmp_path / "sql")
            migrations.migrate(dsn)
            seen.append(catalogue(connection))
    return seen


def test_a_migration_takes_nothing_away_from_the_code_before_it(steps: list[Catalogue]) -> None:
    assert steps[0].columns["run_signs", "run_id"].type == "text"
    assert len(steps) > 1
    for file, before, after in zip(files(), steps, steps[1:], strict=False):
        assert taken_away(before, after) == [], file.name
        assert before != after, file.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE epochs RENAME end_hash TO last_hash", "epochs.end_hash is gone"),
        ("DROP TABLE run_signs", "run_signs.host is gone"),
        ("ALTER TABLE run_signs ALTER signs TYPE INT", "run_signs.signs was bigint and is integer"),
        ("ALTER TABLE epochs ALTER source SET NOT NULL", "epochs.source must not be NULL any"),
        ("ALTER TABLE run_signs ALTER signs DROP DEFAULT", "run_signs.signs has no default any"),
        ("ALTER TABLE run_signs ADD x INT NOT NULL", "run_signs.x is new, must not be NULL"),
        ("ALTER TABLE epochs ADD CHECK (epoch < 9)", "epochs has the new rule CHECK ((epoch < 9))"),
        ("CREATE UNIQUE INDEX ON run_signs (host)", "run_signs has the new rule CREATE UNIQUE"),
        ("ALTER TABLE run_signs DROP CONSTRAINT run_signs_pkey", "run_signs is without PRIMARY"),
        (
            "ALTER FUNCTION parse_comma_number(text) RENAME TO number_of",
            "parse_comma_number(text) returned numeric and is gone",
        ),
    ],
)
def test_what_would_stop_old_code_is_noticed(
    database: psycopg.Connection, change: str, said: str
) -> None:
    before = catalogue(database)
    database.execute(sql.SQL(change))
    assert any(one.startswith(said) for one in taken_away(before, catalogue(database)))


def test_additions_are_not_taken_for_more(database: psycopg.Connection) -> None:
    before = catalogue(database)
    database.execute("ALTER TABLE epochs ADD note TEXT, ADD seen BOOLEAN NOT NULL DEFAULT false")
    database.execute(
        "CREATE TABLE fresh (id INT PRIMARY KEY, said TEXT NOT NULL CHECK (said > ''))"
    )
    database.execute("CREATE INDEX ON epochs (note)")
    assert catalogue(database) != before
    assert taken_away(before, catalogue(database)) == []
