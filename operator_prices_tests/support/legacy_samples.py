"""Snapshots of the old system, as small as they can be: values and functions, not fixtures."""

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from operator_prices import store
from operator_prices.chain.substrate import keys
from operator_prices.epochs import normalized, tables
from operator_prices.epochs.windows import between
from operator_prices.legacy.exporting import LAYOUT
from operator_prices.legacy.importing import import_window
from operator_prices.legacy.snapshots import Row
from operator_prices.settings import PROJECT

SHARED = Path(os.environ.get("SHARED_DIR", PROJECT.parent / "shared")).resolve() / "legacy"
"""Where the file is that the old script itself wrote, with the true rows hidden in it."""

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir() and "REQUIRE_EVERYTHING" not in os.environ,
    reason=f"{SHARED} is missing; SHARED_DIR names another place",
)


def operator_value(**changes: object) -> dict[str, Any]:
    return {
        "signingKey": "0x" + "ab" * 32,
        "currentDomainId": 0,
        "nextDomainId": 0,
        "minimumNominatorStake": f"0x{10**18:032x}",
        "nominationTax": 5,
        "currentTotalStake": f"0x{2 * 10**21:032x}",
        "currentTotalShares": f"0x{10**21:032x}",
        "partialStatus": {"registered": None},
        "depositsInEpoch": 0,
        "withdrawalsInEpoch": 0,
        "totalStorageFeeDeposit": f"0x{5 * 10**20:032x}",
    } | changes


def operator_entry(operator: int, position: int = 0, **changes: object) -> dict[str, object]:
    """An entry as the old script wrote it: the key is the position and nothing else."""
    key = keys.of_operators("Operators", (operator,))[0]
    return {"key": [str(position)], "value": f"{key},{json.dumps(operator_value(**changes))}"}


def price_entry(
    operator: int, epoch: int, price: object, *, domain: int = 0, position: int = 0
) -> dict[str, object]:
    key = keys.of_share_prices([operator], domain, epoch)[0]
    return {"key": [str(position)], "value": f"{key},{price}"}


def section(entries: Iterable[object]) -> dict[str, object]:
    listed = list(entries)
    return {"count": len(listed), "entries": listed}


def document(
    epoch: int,
    *,
    operators: Iterable[object] = (),
    prices: Iterable[object] = (),
    rewards: Mapping[str, object] | None = None,
    **changes: object,
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "endBlock": 100 + epoch,
        "endHash": end_hash(epoch),
        "timestamp": 1_756_259_880_000 + epoch,
        "domainStakingSummary": {
            "currentEpochIndex": str(epoch),
            "currentTotalStake": "2,000,000,000,000,000,000,000",
            "currentOperators": {"0": "2,000,000,000,000,000,000,000"},
            "nextOperators": ["0"],
            "currentEpochRewards": rewards or {},
        },
        "accumulatedTreasuryFunds": "1,000",
        "domainChainRewards": "0",
        "totalStorageFeeDeposit": "0",
        "totalStake": "0",
        "totalShares": "0",
        "deposits": {"count": 3, "entries": []},
        "withdrawals": {"count": 1, "entries": []},
        "successfulBundles": {"count": 0, "entries": []},
        "operatorEpochSharePrice": section(prices),
        "operators": section(operators),
    } | changes


def end_hash(epoch: int) -> str:
    return f"0x{epoch:064x}"


def row(epoch: int, told: object = None, **changes: object) -> Row:
    data = told if isinstance(told, str | bytes) else json.dumps(told or document(epoch))
    known = {
        "epoch": epoch,
        "end_block": 100 + epoch,
        "end_hash": end_hash(epoch),
        "timestamp": 1_756_259_880_862 + epoch,
        "data": data,
    }
    return Row(**(known | changes))  # type: ignore[arg-type]


def write_sqlite(file: Path, rows: Iterable[Row]) -> Path:
    with sqlite3.connect(file) as connection:
        connection.executescript(LAYOUT)
        connection.executemany(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (?, ?, ?, ?, ?)",
            rows,
        )
    connection.close()
    return file


def history(epochs: int, operators: int = 2) -> list[Row]:
    """Snapshots that each carry the whole price history, as the old system's do."""
    return [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(operator) for operator in range(operators)],
                prices=[
                    price_entry(operator, past, price_of(past, operator))
                    for past in range(epoch)
                    for operator in range(operators)
                ],
            ),
        )
        for epoch in range(epochs)
    ]


def price_of(epoch: int, operator: int) -> int:
    return 10**18 - 1_000 * epoch - operator - 1


def fill(connection: psycopg.Connection, file: Path, last: int, **how: bool) -> None:
    """Import `file` as the assets do."""
    for window in between(0, last):
        import_window(connection, str(file), window, domain_id=0, **how)
        told = normalized.decoded(store.read(connection, tables.EPOCHS, window))
        store.write(
            connection, tables.OPERATOR_SHARE_PRICES, normalized.operator_share_prices(told)
        )
        store.write(connection, tables.OPERATOR_SHARES, normalized.operator_shares(told))
        store.merge_operators(connection, normalized.operators_metadata(told))
        store.refresh_analytics(connection, window)
