"""What the tests of the chain share."""

import pytest


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("operator_prices.chain.rpc.client.backoff", lambda *_: 0)
