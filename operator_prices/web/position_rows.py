"""A row of an account's history as an object of JSON or a line of CSV, at once or in pieces."""

from collections.abc import Callable, Collection, Sequence
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

Texts = tuple[str, ...]
"""Of columns that follow one another, nothing where a value is unknown."""


@dataclass(frozen=True, slots=True)
class Notation:
    """A form: how rows are written, and what is between two of them."""

    value: Callable[[str, str], str]
    """How a text is written of a kind of column, and that it is unknown."""
    row: str
    """The template of a row of values that are written already."""
    known: str
    """That of a row that is cut where the values in `OWN` go, of texts that are known."""
    gapped: str
    """The same of values that are written already."""
    separator: str

    def whole(self, texts: Texts) -> str:
        """A row, of which anything may be unknown."""
        return self.row % self._values(texts, KINDS)

    def around(self, texts: Texts) -> list[str]:
        """What stands before each of the values in `OWN` and after the last, by all other texts."""
        row = self.known % texts if "" not in texts else self.gapped % self._values(texts, REST)
        return row.split(CUT)

    def _values(self, texts: Texts, kinds: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.value(text, kind) for text, kind in zip(texts, kinds, strict=True))


CUT = "\0"
KINDS = tuple(kind for _, kind, _ in COLUMNS)
REST = tuple(kind for name, kind, _ in COLUMNS if name not in OWN)


def _cut(row: str) -> str:
    """The template of a row without the values in `OWN`."""
    return row % tuple(CUT if name in OWN else "%s" for name, *_ in COLUMNS)


def _object(quoted: Collection[str]) -> str:
    fields = [f'"{to_camel(name)}":{QUOTED if name in quoted else "%s"}' for name, *_ in COLUMNS]
    return "{" + ",".join(fields) + "}"


QUOTED = '"%s"'
LINE = ",".join(["%s"] * len(COLUMNS))

JSON = Notation(
    lambda text, kind: "null" if not text else QUOTED % text if kind == "text" else text,
    _object(()),
    _cut(_object(TEXTS)),
    _cut(_object(TEXTS & OWN)),
    ",",
)
CSV = Notation(lambda text, _: text, LINE, _cut(LINE), _cut(LINE), "\n")
