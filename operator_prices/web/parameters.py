"""What may be asked: the parameters of the routes, and a sentence for whatever is none."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BeforeValidator, Field

from operator_prices.web.accounts import NoAccountError, account
from operator_prices.web.headers import media_type
from operator_prices.web.meant import nearest
from operator_prices.web.refusals import RefusedRequestError
from operator_prices.web.tables import Form

LAST_EPOCH = 2**32 - 1
LAST_OPERATOR = 2**31 - 1
MANY = 1_000
"""The most operators that may be named."""

USUAL_PAGE, PAGE = 100, 1_000
"""How many nominators a page has, and the most that it may have."""

FORMATS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}


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
SampledEpochs = Annotated[
    SampleSize | None,
    Plain,
    Query(
        alias="sample",
        description="About as many epochs: every ceil(epochs/M)-th, those in which something was"
        " paid in, withdrawn or paid out, and the last one.",
    ),
]
PageSize = Annotated[
    Annotated[int, Field(ge=1, le=PAGE)] | None,
    Plain,
    Query(alias="limit", description=f"How many; {USUAL_PAGE} unless it is said."),
]
Offset = Annotated[
    OperatorId | None,
    Plain,
    Query(alias="offset", description="How many larger ones are left out."),
]
Account = Annotated[
    str,
    Path(
        max_length=100,
        description="An account: SS58 of any prefix, or `0x` and 64 hex digits.",
        examples=["0x" + "11" * 32],
    ),
    AfterValidator(account),
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

Mark = Annotated[
    Literal["0", "1"] | None,
    Query(alias="bom", description="`1` begins CSV with a byte order mark, for spreadsheets."),
]
Ai3 = Annotated[
    Literal["0", "1"] | None,
    Query(description="`1` adds columns in AI3 to a table, exact decimals with a point."),
]

EXPECTED = {
    "limit": "`all` or a whole number from 1 on",
    "page": f"a whole number from 1 to {PAGE}",
    "sample": "a whole number from 1 to 1000000",
    "from": f"an epoch, a whole number from 0 to {LAST_EPOCH}",
    "to": f"an epoch, a whole number from 0 to {LAST_EPOCH}",
    "epoch": f"a whole number from 0 to {LAST_EPOCH}",
    "operator": f"the id of an operator, a whole number from 0 to {LAST_OPERATOR}",
    "operators": "ids of operators between commas, like 0,5",
    "path": "`tables` or `json`",
    "health": "`1`",
    "bom": "`1`",
    "ai3": "`1`",
    "format": "`json`, `csv`, `parquet` or `arrow`",
    "offset": f"a whole number from 0 to {LAST_OPERATOR}",
    "address": "an account, as SS58 or as `0x` and 64 hex digits",
    "last-event-id": f"an epoch, a whole number from 0 to {LAST_EPOCH}",
}


VALUES = {"format": tuple(FORMATS), "path": ("tables", "json"), "limit": ("all",)}
"""What is written as a word."""


def sentence(error: RequestValidationError) -> str:
    """What is wrong with a request, by parameter."""
    return "; ".join(
        f"{name} must be {EXPECTED.get(kind, 'given')}, and is {str(wrong['input'])[:100]!r}"
        f"{_reason(wrong)}{nearest(str(wrong['input']), VALUES.get(kind, ()))}"
        for wrong in error.errors()
        for name in [str(wrong["loc"][-1])]
        for kind in [_kind(name, wrong["type"])]
    )


def _kind(name: str, wrong: str) -> str:
    """What a parameter is looked up by: a `limit` that has no pattern is that of a page."""
    return "page" if name == "limit" and wrong != "string_pattern_mismatch" else name


def _reason(wrong: Mapping[str, Any]) -> str:
    reason = wrong.get("ctx", {}).get("error")
    return f", which {reason}" if isinstance(reason, NoAccountError) else ""


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


async def form(
    request: Request,
    format: Format = None,  # noqa: A002 - the name of the parameter
    bom: Mark = None,
    ai3: Ai3 = None,
) -> Form:
    """How the answer is wanted: as `format` says, else the first form that `Accept` likes best."""
    media = {kind.split(";")[0]: name for name, kind in FORMATS.items()}
    liked = media_type(request.headers.get("accept", ""), media)
    chosen = Form(format or (media[liked] if liked else "json"), bom == "1", ai3 == "1")
    if chosen.bom and chosen.name != "csv":
        raise RefusedRequestError(422, f"bom must go with format=csv, and this is {chosen.name}")
    if chosen.ai3 and chosen.name == "json":
        raise RefusedRequestError(422, "ai3 must go with format=csv, parquet or arrow")
    return chosen


AsForm = Annotated[Form, Depends(form)]
