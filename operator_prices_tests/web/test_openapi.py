"""The OpenAPI document says what is answered, well enough to generate a client from it."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import feedparser
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, TypeAdapter

from operator_prices.settings import Settings
from operator_prices.web import examples, nominator_examples, nominator_schemas, pages, schemas
from operator_prices.web.app import create_app
from operator_prices.web.limits import Room
from operator_prices_tests.support import positions
from operator_prices_tests.support.web_server import Served

EXAMPLES = examples.EXAMPLES | nominator_examples.EXAMPLES
NOMINATOR = f"/api/nominators/{positions.HOLDER}"

ANSWERS: dict[str, Any] = {
    "/api/epochs": list[schemas.Epoch],
    "/api/epochs?health=1": schemas.Health,
    "/api/summary": schemas.Summary | None,
    "/api/epochs/7": schemas.EpochFacts,
    "/api/operators": list[schemas.Operator],
    "/api/operators/2": schemas.Operator,
    "/api/operators/2/events": list[schemas.OperatorEvent],
    "/api/operators/2/share-prices": list[schemas.SharePrice],
    "/api/share-prices": list[schemas.SharePrice],
    "/api/status": schemas.Status,
    "/api/freshness": schemas.Freshness,
    NOMINATOR: nominator_schemas.Nominator,
    f"{NOMINATOR}?to=37": nominator_schemas.Nominator,
    f"{NOMINATOR}/history": list[nominator_schemas.PositionAt],
    "/api/operators/1/nominators": nominator_schemas.NominatorsOfOperator,
    "/api/operators/1/flows": list[nominator_schemas.Flow],
    "/healthz": schemas.Alive,
    "/readyz": schemas.Ready,
}
CALLS: dict[str, dict[str, Any]] = {
    "/api/epochs": {"limit": "3"},
    "/api/epochs/{epoch}": {"epoch": 7},
    "/api/operators/{operator}": {"operator": 2},
    "/api/operators/{operator}/events": {"operator": 2},
    "/api/operators/{operator}/feed.atom": {"operator": 2},
    "/api/operators/{operator}/share-prices": {"operator": 2},
    "/api/share-prices": {"from_": 38},
    "/api/nominators/{address}": {"address": positions.HOLDER},
    "/api/nominators/{address}/history": {"address": positions.HOLDER},
    "/api/operators/{operator}/nominators": {"operator": 1},
    "/api/operators/{operator}/flows": {"operator": 1},
}
CONFIG = """
post_hooks: []
content_type_overrides:
  application/atom+xml: text/xml
"""
"""Of the generator, which has to be told that a feed is text."""

WITHOUT_END = "/api/stream"


@pytest.fixture(scope="module")
def document(api: Served) -> dict[str, Any]:
    told: dict[str, Any] = api.get("/openapi.json").json
    return told


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_has_the_documented_shape_and_nothing_else(api: Served, path: str) -> None:
    TypeAdapter(ANSWERS[path]).validate_json(api.get(path).body)


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_each_example_is_one(model: type[BaseModel]) -> None:
    model.model_validate(EXAMPLES[model])


def test_every_answer_of_every_route_is_documented_with_an_example(
    document: dict[str, Any],
) -> None:
    for path, operations in document["paths"].items():
        for kind, told in operations["get"]["responses"]["200"]["content"].items():
            assert told["schema"], path
            if "octet" not in kind and "vnd.apache" not in kind:
                assert told["example"], (path, kind)
        assert set(operations) == {"get"}
    assert '"type": "null"' not in json.dumps(document)  # which version 3.0 does not know


def test_every_route_is_documented_but_those_of_the_pages(document: dict[str, Any]) -> None:
    app = create_app(Settings.read(api_database_url="postgresql:///x"), Room.of(256, 10))
    routes, of_pages = (
        {one.path for one in iter_route_contexts(some)}
        for some in (app.routes, pages.router.routes)
    )
    assert {"/", "/docs", "/embed"} <= of_pages
    assert routes - of_pages - {"/openapi.json"} == set(document["paths"])


def test_a_feed_is_documented_by_one(document: dict[str, Any]) -> None:
    told = document["paths"]["/api/operators/{operator}/feed.atom"]["get"]["responses"]
    assert set(told) == {"200", "304", "404", "422", "503"}
    [example] = [one["example"] for one in told["200"]["content"].values()]
    assert list(told["200"]["content"]) == ["application/atom+xml"]
    read = feedparser.parse(example)
    assert (read.bozo, len(read.entries)) == (False, 1)


@pytest.fixture(scope="module")
def client(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModuleType]:
    """A typed client, generated from the document."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yml").write_text(CONFIG)
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("openapi-python-client")), "generate"),
            *("--path", "openapi.json", "--config", "config.yml", "--meta", "none"),
            *("--output-path", "generated_client", "--fail-on-warning"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("generated_client")
    finally:
        sys.path.remove(str(folder))


def test_a_generated_client_calls_every_route(
    client: ModuleType, document: dict[str, Any], api: Served
) -> None:
    with client.Client(base_url=api.url, raise_on_unexpected_status=True) as connection:
        called(connection, document)


def called(connection: Any, document: dict[str, Any]) -> None:  # noqa: ANN401 - it is generated
    for path, operations in document["paths"].items():
        if path == WITHOUT_END:
            continue
        told = operations["get"]
        module = importlib.import_module(
            f"generated_client.api.{told['tags'][0].replace(' ', '_')}.{told['operationId']}"
        )
        reply = module.sync_detailed(client=connection, **CALLS.get(path, {}))
        assert reply.status_code == 200, path
        assert reply.parsed is not None, path
