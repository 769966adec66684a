"""What may be asked: the parameters of the routes, and a sentence for whatever is none."""

from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field

from operator_prices.web.headers import media_type

LAST_EPOCH = 2**32 - 1
LAST_OPERATOR = 2**31 - 1
MANY = 1_000
"""The most operators that may be named."""

FORMATS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


class Sentence(BaseModel):
    """Why a request cannot be answered."""

    detail: str


class RefusedRequestError(Exception):
    """A request that cannot be answered as it is; the sentence says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def _plain(text: object) -> object:
    """Digits as a number; pydantic would take `2_0`, `+2` and `2.0` for one, too."""
    if text == "":
        return None
    if isinstance(text, str) and not (text.isascii() and text.isdecimal()):
        raise ValueError("no plain number")
    return text


EpochNumber = Annotated[int, Field(ge=0, le=LAST_EPOCH)]
OperatorId = Annotated[int, Field(ge=0, le=LAST_OPERATOR)]
SampleSize = Annotated[int, Field(ge=1, le=1_000_000)]

Plain = BeforeValidator(_plain)

Epoch = Annotated[EpochNumber, Plain, Path(description="The number of an epoch.")]
Operator = Annotated[OperatorId, Plain, Path(description="The id of an operator.")]
Limit = Annotated[
    str | None,
    Query(
        pattern="^(all|[1-9][0-9]{0,99}|)$",
        description="The last N epochs, N counting for at most 5,000; `all` or nothing means all.",
    ),
]
Sample = Annotated[
    SampleSize | None,
    Plain,
    Query(description="About as many rows: every ceil(rows/M)-th, and always the last one."),
]
From = Annotated[
    EpochNumber | None,
    Plain,
    Query(alias="from", description="The first epoch wanted."),
]
To = Annotated[
    EpochNumber | None,
    Plain,
    Query(alias="to", description="The last epoch wanted."),
]
Operators = Annotated[
    str | None,
    Query(
        pattern="^([0-9]{1,10}(,[0-9]{1,10})*|)$",
        description="Only these operators, as ids between commas; nothing means all.",
    ),
]
ReadPath = Annotated[
    Literal["tables", "json"] | None,
    Query(description="`tables` reads what is prepared, `json` parses each epoch as of old."),
]
Health = Annotated[
    Literal["0", "1"] | None,
    Query(description="`1` asks how much is there instead of asking for it."),
]
Format = Annotated[
    Literal["json", "csv", "parquet", "arrow"] | None,
    Query(description="The form of the answer; without it, `Accept` decides."),
]

EXPECTED = {
    "limit": "`all` or a whole number from 1 on",
    "sample": "a whole number from 1 to 1000000",
    "from": f"an epoch, a whole number from 0 to {LAST_EPOCH}",
    "to": f"an epoch, a whole number from 0 to {LAST_EPOCH}",
    "epoch": f"a whole number from 0 to {LAST_EPOCH}",
    "operator": f"the id of an operator, a whole number from 0 to {LAST_OPERATOR}",
    "operators": "ids of operators between commas, like 0,5",
    "path": "`tables` or `json`",
    "health": "`1`",
    "format": "`json`, `csv`, `parquet` or `arrow`",
    "last-event-id": f"an epoch, a whole number from 0 to {LAST_EPOCH}",
}


def sentence(error: RequestValidationError) -> str:
    """What is wrong with a request, by parameter."""
    return "; ".join(
        f"{name} must be {EXPECTED.get(name, 'given')}, and is {str(wrong['input'])[:100]!r}"
        for wrong in error.errors()
        for name in [str(wrong["loc"][-1])]
    )


def limited(limit: str | None, cap: int) -> int | None:
    """What a numeric limit comes to, None for all.

    >>> limited("all", 5000), limited(None, 5000), limited("7", 5000), limited("9000", 5000)
    (None, None, 7, 5000)
    """
    return None if limit in (None, "", "all") else min(int(str(limit)), cap)


def listed(operators: str | None) -> tuple[int, ...] | None:
    """The ids, each once and in order; None stands for all.

    >>> listed("5,0,5"), listed(""), listed(None)
    ((0, 5), None, None)
    """
    if not operators:
        return None
    ids = {int(text) for text in operators.split(",")}
    if max(ids) > LAST_OPERATOR or len(ids) > MANY:
        raise RefusedRequestError(
            422, f"operators must be at most {MANY} ids of at most {LAST_OPERATOR}, between commas"
        )
    return tuple(sorted(ids))


def span(first: int | None, last: int | None) -> tuple[int, int]:
    """First and last epoch of what is asked for."""
    if first is not None and last is not None and first > last:
        raise RefusedRequestError(422, f"from must not be after to, and {first} is after {last}")
    return 0 if first is None else first, LAST_EPOCH if last is None else last


def form(request: Request, asked: str | None) -> str:
    """The form of the answer: what `format` says, else the first that `Accept` names."""
    if asked is not None:
        return asked
    media = {kind.split(";")[0]: name for name, kind in FORMATS.items()}
    liked = media_type(request.headers.get("accept", ""), media)
    return "json" if liked is None else media[liked]


def documented(*statuses: int, media: tuple[str, ...] = ("application/json",)) -> dict[Any, Any]:
    """The answers of a route, for the OpenAPI document."""
    said = {
        404: "There is no such thing.",
        422: "A parameter is none; the sentence says which.",
        503: "The database does not answer.",
    }
    return {
        200: {"content": {kind: {} for kind in media}},
        304: {"description": "What the client has still holds."},
        **{
            status: {"model": Sentence, "description": said[status]}
            for status in (*statuses, 422, 503)
        },
    }
