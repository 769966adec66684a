"""Numbers as the old system wrote them, read exactly or not at all."""

import re

GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")

LONGEST = 400
"""Characters of a number, padding included: no number of 128 bits is written in more."""

ABOVE_U128 = 2**128


class NotANumberError(ValueError):
    """Something in the place of a number that is none; the message is the reason."""


class InexactError(Exception):
    """A JSON number that the fast parser could only give as a float: read that row again."""


def amount(value: object) -> int:
    """The unsigned integer of at most 128 bits that `value` writes.

    A JSON integer, or text: decimal, plain or with commas between groups of three, or hexadecimal
    after `0x`, zero-padded to any width. Raises `NotANumberError`, or `InexactError` for a float.

    >>> amount("6,870,330,918"), amount("0x000000000000000018fbcfd75ffd5000"), amount(7)
    (6870330918, 1800261000000000000, 7)
    """
    if type(value) is str:
        number = _read(value)
        if number < ABOVE_U128:
            return number
    elif type(value) is int:
        number = value
    elif type(value) is float:
        raise InexactError
    else:
        raise NotANumberError("is missing" if value is None else "is no number")
    if not 0 <= number < ABOVE_U128:
        raise NotANumberError("is negative" if number < 0 else "is above 128 bits")
    return number


def _read(text: str) -> int:
    if text.isalnum() and text.isascii() and len(text) <= LONGEST:  # no sign, blank or underscore
        if text[:2] in ("0x", "0X"):
            try:
                return int(text, 16)
            except ValueError:
                raise NotANumberError("is no number") from None
        if text.isdecimal():
            return int(text)
    elif len(text) <= LONGEST and GROUPED.fullmatch(text):
        return int(text.replace(",", ""))
    raise NotANumberError("is no number" if text else "is empty")
