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


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/epochs?limt=5", "did you mean limit?"),
        ("/api/operators?fromat=csv", "did you mean format?"),
        ("/api/epochs?format=csv", "it takes from, health, limit, operators, path, sample, to."),
        ("/api/share-prices?limit=5", "it takes ai3, bom, format, from, operators, to."),
        ("/api/summary?x=1", "it takes none."),
        ("/api/epochs?limit=5&limit=7", "limit must be given once"),
        ("/api/operators?format=cvs", "did you mean csv?"),
        ("/api/epochs?path=table", "did you mean tables?"),
    ],
)
def test_what_is_misspelt_is_refused_with_the_nearest_right_name(
    api: Served, path: str, said: str
) -> None:
    reply = api.get(path)
    assert reply.status == 422
    assert said in reply.json["detail"]


def test_a_path_that_is_none_is_told_what_there_is(api: Served) -> None:
    for path, said in (
        ("/api/epoch", "did you mean /api/epochs?"),
        ("/api/epochs/", "did you mean /api/epochs?"),
        ("/nothing-like-it", "/docs lists what there is."),
    ):
        reply = api.get(path)
        assert reply.status == 404
        assert said in reply.json["detail"]
    for method in ("POST", "DELETE"):
        reply = api.get("/api/epochs", method=method)
        assert reply.status == 405
        assert reply.headers["allow"] == "GET, HEAD"
        assert reply.json["detail"].endswith("GET and HEAD are.")


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/docs", "/openapi.json", "/static/none.js", "/api/summary", "/api/epochs/99"),
        *("/api/epochs?limit=x", "/none", "/metrics", "/api/share-prices?format=parquet"),
    ],
)
def test_every_answer_has_the_headers_of_safety(api: Served, path: str) -> None:
    for method in ("GET", "HEAD"):
        headers = api.get(path, method=method).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
