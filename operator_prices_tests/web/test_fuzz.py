"""Whatever OpenAPI says may be asked, and much that it does not, is answered without a 500."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, database, serving


@pytest.fixture(scope="module")
def api(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 9, 3)
        with serving(dsn) as served:
            yield served


@pytest.mark.e2e
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_question_breaks_the_api(api: Served, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    asked: Counter[str] = Counter()
    for found in schema.exclude(path="/api/stream").get_all_operations():  # it has no end
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            answer = case.call()
            asked[case.path] += 1
            assert answer.status_code < 500, answer.text
            if answer.status_code == 422:
                assert list(answer.json()) == ["detail"]

        try:
            ask()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # it takes nothing that could be wrong
    assert sum(asked.values()) > 100


@pytest.mark.e2e
def test_the_stream_takes_any_last_event_id(api: Served) -> None:
    for told in ("", "x", "-1", "1e5", "99999999999999999999", "\u0661"):
        with pytest.raises(TimeoutError):
            api.get("/api/stream", seconds=1, last_event_id=told.encode().decode("latin-1"))
