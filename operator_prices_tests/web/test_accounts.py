"""Accounts are taken as SS58 of any prefix and as hex, and whatever is none is refused with why."""

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scalecodec.utils.ss58 import ss58_encode

from operator_prices.web.accounts import NoAccountError, account

KEYS = st.binary(min_size=32, max_size=32)
PREFIXES = st.integers(0, 16383).filter(lambda prefix: prefix not in {46, 47})  # both are reserved


@given(KEYS, PREFIXES)
def test_an_address_of_any_prefix_is_the_account_that_it_was_made_of(
    key: bytes, prefix: int
) -> None:
    assert account(ss58_encode(key, prefix)) == f"0x{key.hex()}"


@given(KEYS)
def test_hex_is_taken_in_either_case(key: bytes) -> None:
    assert account(f"0x{key.hex().upper()}") == f"0x{key.hex()}"


@pytest.mark.parametrize("key", ["00" * 32, "ff" * 32, "5a" * 32, "0123456789abcdef" * 4])
def test_one_wrong_letter_is_noticed(key: str) -> None:
    address = ss58_encode(f"0x{key}", 6094)
    for place, right in enumerate(address):
        for letter in base58.BITCOIN_ALPHABET.decode().replace(right, ""):
            with pytest.raises(NoAccountError, match=r"wrong checksum|has 3\d bytes|begins with"):
                account(address[:place] + letter + address[place + 1 :])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 letters"),
        ("su" * 31, "has 62 letters"),
        ("0x", "has 0 hex digits"),
        ("0x" + "1" * 63, "has 63 hex digits"),
        ("0x" + "g" * 64, "has 66 letters"),
        ("subTThK1jdjVmLEjFtMFSdGo3kW1r1VRMzDADrxULcefPpxx0", "has letters that no SS58"),
        ("subTThK1jdjVmLEjFtMFSdGo3kW1r1VRMzDADrxULcefPpxxT", "has a wrong checksum"),
        (base58.b58encode(bytes([42] * 34)).decode(), "has 34 bytes"),
        ("äöü", "has letters that no SS58"),
        (base58.b58encode(b"\xff" * 36).decode(), "begins with the byte 255"),
    ],
)
def test_what_is_no_account_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NoAccountError, match=reason):
        account(text)
