"""What is no question is refused in a sentence that says what would be one."""

import pytest

from operator_prices_tests.support.web_server import Served


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/epochs?limit=0", "limit"),
        ("/api/epochs?limit=-1", "limit"),
        ("/api/epochs?from=1_0", "from"),
        ("/api/epochs/2_0", "epoch"),
        ("/api/epochs/+2", "epoch"),
        ("/api/operators/2.0", "operator"),
        ("/api/epochs?limit=ten", "limit"),
        ("/api/epochs?limit=1e3", "limit"),
        ("/api/epochs?sample=0", "sample"),
        ("/api/epochs?sample=x", "sample"),
        ("/api/epochs?from=-1", "from"),
        ("/api/epochs?from=5&to=4", "from"),
        ("/api/epochs?to=4294967296", "to"),
        ("/api/epochs?operators=a", "operators"),
        ("/api/epochs?operators=1,,2", "operators"),
        ("/api/epochs?operators=9999999999", "operators"),
        ("/api/epochs?path=sql", "path"),
        ("/api/epochs?health=maybe", "health"),
        ("/api/epochs/x", "epoch"),
        ("/api/epochs/-1", "epoch"),
        ("/api/epochs/1?format=xml", "format"),
        ("/api/operators/x", "operator"),
        ("/api/operators/99999999999", "operator"),
        ("/api/operators/1/share-prices?from=2&to=1", "from"),
        ("/api/share-prices?operators=-1", "operators"),
    ],
)
def test_a_bad_parameter_is_refused_in_a_sentence_that_names_it(
    api: Served, path: str, names: str
) -> None:
    reply = api.get(path)
    assert reply.status == 422
    assert list(reply.json) == ["detail"]
    assert reply.json["detail"].startswith(f"{names} must")
