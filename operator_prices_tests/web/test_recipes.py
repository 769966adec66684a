"""What docs/data.md says to write is run as it stands, against a real API."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
from duckdb_extensions import import_extension

from operator_prices.settings import PROJECT
from operator_prices_tests.support.web_server import Served

ADDRESS = "http://127.0.0.1:8000"
DOCUMENT = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")


def recipe(title: str, language: str, api: Served) -> str:
    """The only block of a language below a heading, for the API of this test."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    text = str(block)
    assert ADDRESS in text
    return text.replace(ADDRESS, api.url)


def ran(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "docs/data.md", "exec"), names)  # noqa: S102 - our own document
    return names


@pytest.fixture(scope="module")
def told(api: Served) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = api.get("/api/share-prices").json
    return points


def test_polars(api: Served, told: list[dict[str, Any]]) -> None:
    frame = ran(recipe("Polars", "python", api))["first"]
    assert frame.rows() == [
        (point["epoch"], int(point["sharePricePerq"])) for point in told if point["operatorId"] == 0
    ]


def test_pandas(api: Served, told: list[dict[str, Any]]) -> None:
    names = ran(recipe("pandas", "python", api))
    stakes = [int(point["stake"]) for point in told]
    assert list(names["exact"]) == stakes
    assert [int(text) for text in names["csv"]["stake"]] == stakes


def test_duckdb(api: Served, told: list[dict[str, Any]]) -> None:
    install, *statements = [
        part for part in recipe("DuckDB", "sql", api).split(";") if part.strip()
    ]
    assert (install, statements.pop(0)) == ("INSTALL httpfs", " LOAD httpfs")
    with duckdb.connect() as connection:
        import_extension("httpfs", connection)
        by_operator, count = (connection.execute(one).fetchall() for one in statements)
    assert count == [(len(told),)]
    assert dict(by_operator) == {
        operator: sum(int(p["reward"]) for p in told if p["operatorId"] == operator)
        for operator in {point["operatorId"] for point in told}
    }


def test_a_workbook_holds_every_digit(
    api: Served, told: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran(recipe("Excel and other spreadsheets", "python", api))
    sheet = openpyxl.load_workbook("prices.xlsx").active
    assert sheet is not None
    head, *rows = sheet.iter_rows(values_only=True)
    stakes = [row[head.index("stake")] for row in rows]
    assert stakes == [point["stake"] for point in told]


def test_a_spreadsheet_reads_the_addresses_that_it_is_told(api: Served) -> None:
    paths = re.findall(r"`(/api/\S*format=csv\S*)`", DOCUMENT)
    assert len(paths) >= 2
    for path in paths:
        reply = api.get(path)
        assert reply.body.startswith(b"\xef\xbb\xbf")
        assert len(list(csv.DictReader(io.StringIO(reply.body.decode("utf-8-sig"))))) > 1


@pytest.mark.e2e
def test_javascript(api: Served, told: list[dict[str, Any]], tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        assert not os.environ.get("REQUIRE_EVERYTHING"), "npm is missing"
        pytest.skip("there is no npm here")
    (tmp_path / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    said = "console.log(JSON.stringify(stakes.map(String)));\n"
    (tmp_path / "recipe.js").write_text(recipe("JavaScript", "js", api) + said)
    for command in (
        ["npm", "install", "--no-audit", "--no-fund", "apache-arrow"],
        ["node", "recipe.js"],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [point["stake"] for point in told]
