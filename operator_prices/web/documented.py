"""The OpenAPI document: what each route answers, in which forms, with an example of each."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from operator_prices.web.refusals import Sentence

REFUSALS = {
    404: ("There is no such thing.", "Epoch 99 is not stored: epochs 0 to 39 are stored."),
    422: (
        "A parameter is none; the sentence says which.",
        "limit must be `all` or a whole number from 1 on, and is 'ten'",
    ),
    503: (
        "The database does not answer, or too many ask for too much.",
        "The database does not answer (OperationalError): try again.",
    ),
}

BINARY = {"schema": {"type": "string", "format": "binary"}}
FORMS = {
    "text/csv": {"schema": {"type": "string"}},
    "application/vnd.apache.parquet": BINARY,
    "application/vnd.apache.arrow.stream": BINARY,
}


def documented(
    model: Any,  # noqa: ANN401 - a class or a union of them
    example: object,
    *statuses: int,
    table: str | None = None,
    fresh: bool = False,
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for the OpenAPI document; `table` is an example of its CSV.

    What is `fresh` is never the same, and so is not named by a version.
    """
    content: dict[str, Any] = {"application/json": {"example": example}}
    if table is not None:
        content |= {**FORMS, "text/csv": {**FORMS["text/csv"], "example": table}}
    return {
        200: {"description": "The answer.", "model": model, "content": content},
        **({} if fresh else STILL),
        **_refused(*statuses),
    }


def text(
    kind: str, example: str, *statuses: int, fresh: bool = True
) -> dict[int | str, dict[str, Any]]:
    """The answer of a route that is text; with `statuses`, it may be refused as others are."""
    content = {kind: {"schema": {"type": "string"}, "example": example}}
    return {
        200: {"content": content},
        **({} if fresh else STILL),
        **(_refused(*statuses) if statuses else {}),
    }


STILL: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the client has still holds."},
}


def _refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "model": Sentence,
            "description": REFUSALS[status][0],
            "content": {"application/json": {"example": {"detail": REFUSALS[status][1]}}},
        }
        for status in (*statuses, 422, 503)
    }


def document(app: FastAPI) -> dict[str, Any]:
    """The document as version 3.0 has it, the newest that the Swagger UI we serve can draw."""
    if app.openapi_schema is None:
        app.openapi_schema = _older(
            get_openapi(
                title=app.title,
                version=app.version,
                openapi_version=app.openapi_version,
                description=app.description,
                routes=app.routes,
                servers=[{"url": "./"}],  # from the document on, below whatever path
            )
        )
    return app.openapi_schema


def _older(part: Any) -> Any:  # noqa: ANN401
    """The same with `nullable`, which version 3.0 has instead of a type `null`."""
    if isinstance(part, list):
        return [_older(one) for one in part]
    if not isinstance(part, dict):
        return part
    told = {name: _older(one) for name, one in part.items() if name != "example"}
    if "example" in part:
        told["example"] = part["example"]
    if "const" in told:
        told["enum"] = [told.pop("const")]
    choices = told.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        others = [one for one in choices if one != {"type": "null"}]
        del told["anyOf"]
        if len(others) == 1 and "$ref" not in others[0]:
            told = {**others[0], **told}
            if "enum" in told:
                told["enum"] = [*told["enum"], None]
        else:
            told["anyOf"] = others
        told["nullable"] = True
    return told
