"""Accounts as people write them: SS58 of any prefix, or hex."""

import hashlib
import re

import base58

ACCOUNT_BYTES = 32
CHECKSUM_BYTES = 2
TWO_BYTES, RESERVED = 64, 128
"""From which first byte on a prefix takes two bytes, and from which on there is none."""

HEX = re.compile(r"0x[0-9a-fA-F]*")
LETTERS = 60
"""More than any address has."""


class NoAccountError(ValueError):
    """A text that names no account: why, in a few words."""


def account(text: str) -> str:
    """The account that a text names, as `0x` and 64 hex digits in lower case.

    Raises `NoAccountError`.

    >>> account("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY")[:12]
    '0xd43593c715'
    >>> account("0xD43593C7")
    Traceback (most recent call last):
    operator_prices.web.accounts.NoAccountError: has 8 hex digits, and an account has 64
    """
    if HEX.fullmatch(text):
        if len(text) != 2 + 2 * ACCOUNT_BYTES:
            raise NoAccountError(
                f"has {len(text) - 2} hex digits, and an account has {2 * ACCOUNT_BYTES}"
            )
        return text.lower()
    return f"0x{_decoded(text).hex()}"


def _decoded(address: str) -> bytes:
    if not 1 <= len(address) <= LETTERS:
        raise NoAccountError(f"has {len(address)} letters, and an address has 46 to 50")
    try:
        told = base58.b58decode(address.encode("ascii"))
    except ValueError:
        raise NoAccountError("has letters that no SS58 address has, and is no hex") from None
    if told[:1] >= bytes([RESERVED]):
        raise NoAccountError(f"begins with the byte {told[0]}, which no SS58 prefix does")
    prefix = 2 if told[:1] >= bytes([TWO_BYTES]) else 1
    length = prefix + ACCOUNT_BYTES + CHECKSUM_BYTES
    if len(told) != length:
        raise NoAccountError(f"has {len(told)} bytes, and an address with its prefix has {length}")
    body, checksum = told[:-CHECKSUM_BYTES], told[-CHECKSUM_BYTES:]
    if hashlib.blake2b(b"SS58PRE" + body).digest()[:CHECKSUM_BYTES] != checksum:
        raise NoAccountError("has a wrong checksum: a letter of it is wrong or missing")
    return body[prefix:]
