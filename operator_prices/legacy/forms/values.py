"""Values of SQL text and of CSV: literals, and the few functions that SQLite's `.dump` writes."""

import re
from collections.abc import Callable, Iterator, Mapping

from operator_prices.legacy.forms.items import WANTED, FoundRow

TOKEN = re.compile(
    r"\s*(?:(?P<blob>[xX]'(?P<hex>[0-9A-Fa-f]*)')|(?P<text>[eE]?'(?P<body>[^']*(?:''[^']*)*)')"
    r"|(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>\w+)|(?P<sign>::|.))",
    re.DOTALL,
)

WHOLE = re.compile(r"-?[0-9]{1,18}")

UNISTR = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4})|(\\))"
)


class UnknownValueError(ValueError):
    """A value that is written in a way that no dump writes."""


def found_row(form: str, columns: Mapping[str, object]) -> FoundRow:
    """The row of these columns; those that the old table lacks are left out."""
    return FoundRow(form, *(_found(name, columns.get(name)) for name in WANTED))


def _found(name: str, value: object) -> object:
    """Whole numbers as such and text as text; bytes that are no UTF-8 stay bytes."""
    if isinstance(value, str):
        value = value.encode(errors="surrogateescape")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return value
        if name in WANTED[:2] or name == "timestamp":
            return int(value) if WHOLE.fullmatch(value) else value
    return value


def values_of(text: str, start: int, width: int) -> Iterator[list[object]]:
    """The rows of `width` values that begin at `start`; raises `UnknownValueError`."""
    reader = _Values(text, start)
    while True:
        reader.expect("(")
        row = [reader.value()]
        while reader.sign() == ",":
            row.append(reader.value())
        reader.expect(")", taken=True)
        if len(row) != width:
            raise UnknownValueError(f"has {len(row)} values and not {width}")
        yield row
        if reader.sign() != ",":
            return


class _Values:
    """Reads one value after the other."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._at = start
        self._last = ""

    def sign(self) -> str:
        """The next sign, which is taken."""
        found = TOKEN.match(self._text, self._at)
        if found is None or found["sign"] is None:
            self._last = ""
            return ""
        self._at = found.end()
        self._last = found["sign"]
        return self._last

    def expect(self, sign: str, *, taken: bool = False) -> None:
        if (self._last if taken else self.sign()) != sign:
            near = self._text[self._at : self._at + 20]
            raise UnknownValueError(f"has no {sign} before {near!r}")

    def value(self) -> object:
        value = self._plain()
        while (found := TOKEN.match(self._text, self._at)) and found["sign"] == "::":
            self._at = found.end()
            self._plain_name()  # the type that Postgres casts to
        return value

    def _plain_name(self) -> None:
        found = TOKEN.match(self._text, self._at)
        if found is None or found["name"] is None:
            raise UnknownValueError("casts to no type")
        self._at = found.end()

    def _plain(self) -> object:
        found = TOKEN.match(self._text, self._at)
        if found is None:
            raise UnknownValueError("ends inside its values")
        self._at = found.end()
        if found["blob"]:
            return bytes.fromhex(found["hex"])
        if found["text"]:
            if found["text"][0] in "eE" and "\\" in found["body"]:
                raise UnknownValueError("has text with backslash escapes")
            return found["body"].replace("''", "'")
        if found["number"]:
            return found["number"]
        name = (found["name"] or found["sign"]).lower()
        if name == "null":
            return None
        if name in {"true", "false"}:
            return name
        if name in FUNCTIONS:
            return self._called(name)
        raise UnknownValueError(f"has {name!r} in the place of a value")

    def _called(self, name: str) -> object:
        self.expect("(")
        arguments = [self.value()]
        while self.sign() == ",":
            arguments.append(self.value())
        self.expect(")", taken=True)
        try:
            return FUNCTIONS[name](*map(str, arguments))
        except (TypeError, ValueError) as error:
            raise UnknownValueError(f"calls {name} with other arguments than .dump does") from error


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


def _char(*codes: str) -> str:
    return "".join(chr(int(code)) for code in codes)


def _unistr(text: str) -> str:
    return UNISTR.sub(
        lambda found: (
            "\\" if found[5] else chr(int(found[1] or found[2] or found[3] or found[4], 16))
        ),
        text,
    )


FUNCTIONS: dict[str, Callable[..., str]] = {"replace": _replace, "char": _char, "unistr": _unistr}
"""What `.dump` writes where a text has line breaks or control characters."""
