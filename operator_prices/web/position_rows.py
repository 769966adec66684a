"""A row of an account's history as an object of JSON or a line of CSV, at once or in pieces."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from pydantic.alias_generators import to_camel

from operator_prices.web.queries.rendered import column
from operator_prices.web.queries.spans import Column

COLUMNS: tuple[Column, ...] = (
    *(column(name, "integer") for name in ("epoch", "operator_id", "timestamp")),
    *map(column, ("share_price_perq", "shares", "stake", "pending", "withdrawing_shares")),
    *map(column, ("unlocking", "storage_fee_deposit", "on_hold", "leaving", "worth")),
    *map(column, ("paid_in", "withdrawn_shares", "paid_out", "tax")),
    *map(column, ("paid_in_total", "paid_out_total")),
)
OWN = frozenset({"epoch", "timestamp", "share_price_perq", "stake", "worth"})
"""What each epoch has of its own; what stands between is the same until something happens."""

TEXTS = frozenset(name for name, kind, _ in COLUMNS if kind == "text")

Texts = tuple[str | None, ...]
"""Of columns that follow one another, None where a value is unknown."""


@dataclass(frozen=True, slots=True)
class Notation:
    """A form: how rows are written, and what is between two of them."""

    value: Callable[[str | None, str], str]
    """How a text is written of a kind of column, and that it is unknown."""
    row: str
    """The template of a row of values that are written already."""
    pieces: tuple[str, ...]
    """Those of what stands around the values in `OWN`, of texts that are known."""
    gapped: tuple[str, ...]
    """The same of values that are written already."""
    separator: str

    def whole(self, texts: Texts) -> str:
        """A row, of which anything may be unknown."""
        columns = zip(texts, COLUMNS, strict=True)
        return self.row % tuple(self.value(text, kind) for text, (_, kind, _) in columns)

    def piece(self, place: int, texts: Texts = ()) -> str:
        """What stands before the `place`-th of the values in `OWN`, or after the last one."""
        if None not in texts:
            return self.pieces[place] % texts
        return self.gapped[place] % tuple(self.value(text, "text") for text in texts)


def _pieces(row: str) -> tuple[str, ...]:
    """The template of a row, split where the values in `OWN` go."""
    first, *rest = row.split("%s")
    pieces = [first]
    for (name, _, _), after in zip(COLUMNS, rest, strict=True):
        if name in OWN:
            pieces.append(after)
        else:
            pieces[-1] += f"%s{after}"
    return tuple(pieces)


def _object(quoted: Collection[str]) -> str:
    fields = [f'"{to_camel(name)}":{QUOTED if name in quoted else "%s"}' for name, *_ in COLUMNS]
    return "{" + ",".join(fields) + "}"


QUOTED = '"%s"'
LINE = ",".join(["%s"] * len(COLUMNS))

JSON = Notation(
    lambda text, kind: "null" if text is None else QUOTED % text if kind == "text" else text,
    _object(()),
    _pieces(_object(TEXTS)),
    _pieces(_object(TEXTS & OWN)),
    ",",
)
CSV = Notation(lambda text, _: text or "", LINE, _pieces(LINE), _pieces(LINE), "\n")
