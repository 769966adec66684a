"""What a machine is told that cannot be a worker, or hand runs to any."""

import sys
from importlib import import_module

import pytest

from operator_prices.errors import ExplainedError
from operator_prices.runs import celery_worker
from operator_prices.settings import Settings

SHARED = {
    "celery_broker": "redis://broker.example/0",
    "celery_backend": "redis://broker.example/1",
    "database_url": "postgresql://db.example/prices",
    "archive_node_url": "wss://node.example",
}


@pytest.mark.parametrize("missing", SHARED)
def test_a_worker_is_told_which_setting_of_all_machines_it_lacks(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SHARED:
        monkeypatch.delenv(name.upper(), raising=False)
    given = {name: text for name, text in SHARED.items() if name != missing}
    with pytest.raises(ExplainedError) as refused:
        celery_worker.work(Settings.read(**given))
    assert str(refused.value) == (
        f"A worker needs {missing.upper()}, the same as the other machines: set it."
    )


def test_a_worker_without_the_extra_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_celery", None)
    with pytest.raises(ExplainedError, match=r"needs the extra `celery`: pip install 'operator-p"):
        celery_worker.work(Settings.read(**SHARED))


def test_an_instance_for_celery_without_the_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "operator_prices.runs.celery_launcher", raising=False)
    monkeypatch.setitem(sys.modules, "dagster_celery.launcher", None)
    with pytest.raises(ExplainedError, match=r"dagster_celery.launcher is missing.*pip install"):
        import_module("operator_prices.runs.celery_launcher")
