"""The house is kept: few modules on the floor, none that is two, and no test that needs a test."""

import ast
import re
import runpy
from pathlib import Path

import pytest

from operator_prices.settings import PROJECT

LONGEST_MODULE = 350
LONGEST_FUNCTION = 60
LARGEST_PICTURE = 200_000
"""Bytes."""

LONGER = {
    "chain/rpc/client.py": "waiting, unanswered, window and wake-up are one state",
    "devchain/metadata.py": "one runtime's metadata, item by item",
    "devchain/staking.py": "the pallet of the chain, in its own order",
}
"""Modules that are one thing all the same, and why."""


def modules(package: str) -> dict[str, Path]:
    folder = PROJECT / package
    return {str(file.relative_to(folder)): file for file in folder.rglob("*.py")}


def test_six_modules_stand_on_the_floor() -> None:
    floor = {name for name in modules("operator_prices") if "/" not in name} - {"__init__.py"}
    assert len(floor) <= 6


def test_no_module_has_outgrown_its_sentence() -> None:
    long = {
        name
        for name, file in modules("operator_prices").items()
        if len(file.read_text().splitlines()) > LONGEST_MODULE
    }
    assert long <= set(LONGER)


def test_each_module_opens_with_a_sentence_and_no_function_is_longer_than_a_screen() -> None:
    for name, file in modules("operator_prices").items():
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree), name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= LONGEST_FUNCTION, f"{name}: {node.name}"


def test_no_test_imports_from_a_test() -> None:
    for name, file in modules("operator_prices_tests").items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = f"{node.module}.{node.names[0].name}".split(".")
                ours = parts[0] == "operator_prices_tests"
                assert not (ours and any(part.startswith("test_") for part in parts)), name


@pytest.mark.parametrize(
    ("module", "mark"),
    [("support/hosts.py", "needs_hosts"), ("support/postgres_versions.py", "needs_builds")],
)
def test_in_ci_nothing_is_skipped_for_want_of_a_program(
    module: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for everything, skipped in (("", True), ("1", False)):
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setenv("REQUIRE_EVERYTHING", everything)
        known = runpy.run_path(str(modules("operator_prices_tests")[module]))
        assert known[mark].args == (skipped,)


def test_the_readme_names_every_room() -> None:
    readme = (PROJECT / "README.md").read_text()
    package = PROJECT / "operator_prices"
    rooms = {f"{file.parent.name}/" for file in package.glob("*/__init__.py")}
    floor = {file.name for file in package.glob("[a-z]*.py")}
    assert len(rooms) >= 10
    assert [name for name in sorted(rooms | floor) if f"`{name}`" not in readme] == []


def test_the_documents_say_of_every_migration_whom_it_holds_up() -> None:
    there = {file.name[:2] for file in (PROJECT / "sql").glob("*.rollback.sql")}
    assert len(there) > 15
    text = (PROJECT / "docs" / "migrations.md").read_text()
    told = re.findall(r"^\| (\d\d) [a-z]", text, re.MULTILINE)
    assert told == sorted(there)


def test_the_documents_show_each_picture_and_none_is_large() -> None:
    documents = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    shown = {
        (document.parent / path).resolve()
        for document in documents
        for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", document.read_text())
    }
    pictures = set((PROJECT / "docs" / "images").iterdir())
    assert shown == pictures
    assert [file.name for file in pictures if file.stat().st_size > LARGEST_PICTURE] == []
