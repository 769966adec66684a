"""Parameters and paths that are none: refused, with what was probably meant."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from operator_prices.web.documented import document
from operator_prices.web.refusals import RefusedRequestError


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the nearest right name, nothing if there is none near.

    >>> nearest("fromat", ["format", "from"]), nearest("x", ["format"])
    (': did you mean format?', '')
    """
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean {close[0]}?" if close else ""


_taken: dict[str, tuple[str, ...]] = {}


def parameters(route: APIRoute) -> tuple[str, ...]:
    """What may stand behind the question mark."""
    if route.path not in _taken:
        _taken[route.path] = tuple(sorted(set(_parameters(route.dependant))))
    return _taken[route.path]


def _parameters(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for part in dependant.dependencies:
        yield from _parameters(part)


async def known_parameters(request: Request) -> None:
    """Raise `RefusedRequestError` for a parameter that the route does not take, or takes twice."""
    route = request.scope["route"]
    taken = parameters(route)
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in taken:
            takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
            guess = "" if _is_one_elsewhere(request, name) else nearest(name, taken)
            raise RefusedRequestError(
                422, f"{name[:100]!r} is no parameter of {route.path}{guess or f': {takes}.'}"
            )
        if names.count(name) > 1:
            raise RefusedRequestError(422, f"{name} must be given once, and is given twice or more")


def _is_one_elsewhere(request: Request, name: str) -> bool:
    """Whether another route takes it, so that it is not misspelt."""
    return any(
        (told["in"], told["name"]) == ("query", name)
        for operations in document(request.app)["paths"].values()
        for told in operations["get"].get("parameters", ())
    )


def no_path(path: str, known: Iterable[str]) -> str:
    """What is said of a path that is none."""
    return f"There is no {path[:200]!r}{nearest(path, known) or ': /docs lists what there is.'}"
