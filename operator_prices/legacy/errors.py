"""What makes a source unusable, in one sentence."""

from collections.abc import Container

from operator_prices.errors import ExplainedError
from operator_prices.legacy.forms.items import WANTED


class UnusableSourceError(ExplainedError):
    """A source that cannot be imported, said in one sentence with the fix."""


def require_columns(place: str, columns: Container[str]) -> None:
    if lacking := [name for name in WANTED if name not in columns]:
        raise UnusableSourceError(
            f"The source {place} has no table epochs of the old system: it lacks"
            f" {', '.join(lacking)}."
        )
