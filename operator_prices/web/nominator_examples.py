"""An example of each answer about nominators, for the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from operator_prices.web.nominator_schemas import (
    Flow,
    Nominator,
    NominatorsOfOperator,
    PositionAt,
)

ACCOUNT = "0x" + "11" * 32
ADDRESS = "subTThK1jdjVmLEjFtMFSdGo3kW1r1VRMzDADrxULcefPpxxU"
PRICE = "991080278490000000"
SHARES = "80000000000000000000"
STAKE = "80719999999999999999"
ENDED = 1756259880862

EARNED: dict[str, Any] = {
    "knownSince": None,
    "paidIn": "125000000000000000000",
    "paidOut": "0",
    "tax": "0",
    "gain": "876543210000000000",
    "return": "0.007012345680000000",
    "annualized": "0.088901234567890123",
    "milliseconds": 2592000000,
}

EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    Nominator: {
        "nominator": ACCOUNT,
        "address": ADDRESS,
        "firstSeenEpoch": 1000,
        "lastSeenEpoch": 1234,
        "epoch": 1234,
        "timestamp": ENDED,
        "total": {
            "stake": STAKE,
            "pending": "0",
            "storageFeeDeposit": "20000000000000000000",
            "leaving": "25156543210000000001",
            "worth": "125876543210000000000",
            **EARNED,
        },
        "positions": [
            {
                "operatorId": 0,
                "firstEpoch": 1000,
                "endedEpoch": None,
                "sharePricePerq": PRICE,
                "shares": SHARES,
                "stake": STAKE,
                "pending": "0",
                "storageFeeDeposit": "20000000000000000000",
                "onHold": "80000000000000000000",
                "withdrawing": None,
                "unlocking": [
                    {
                        "amount": "20156543210000000001",
                        "storageFeeRefund": "5000000000000000000",
                        "block": 130400,
                        "due": False,
                        "estimatedTimestamp": 1756301280000,
                    }
                ],
                "leaving": "25156543210000000001",
                "worth": "125876543210000000000",
                **EARNED,
            }
        ],
    },
    PositionAt: {
        "epoch": 1234,
        "operatorId": 0,
        "timestamp": ENDED,
        "sharePricePerq": PRICE,
        "shares": SHARES,
        "stake": STAKE,
        "pending": "0",
        "withdrawingShares": "0",
        "unlocking": "20156543210000000001",
        "storageFeeDeposit": "20000000000000000000",
        "onHold": "80000000000000000000",
        "leaving": "25156543210000000001",
        "worth": "125876543210000000000",
        "paidIn": "0",
        "withdrawnShares": "0",
        "paidOut": "0",
        "tax": "0",
        "paidInTotal": "125000000000000000000",
        "paidOutTotal": "0",
    },
    NominatorsOfOperator: {
        "operatorId": 0,
        "epoch": 1234,
        "shares": "100000000000000000000",
        "nominatorCount": 1,
        "largest": {"1": SHARES, "10": SHARES, "100": SHARES},
        "nextOffset": None,
        "nominators": [
            {
                "nominator": ACCOUNT,
                "address": ADDRESS,
                "epoch": 1234,
                "changedEpoch": 1190,
                "shares": SHARES,
                "shareOfPool": "0.8",
                "stake": STAKE,
                "pending": "0",
                "withdrawingShares": "0",
                "unlocking": "20156543210000000001",
                "storageFeeDeposit": "20000000000000000000",
                "onHold": "80000000000000000000",
            }
        ],
    },
    Flow: {
        "epoch": 1189,
        "timestamp": ENDED,
        "deposits": 1,
        "paidIn": "125000000000000000000",
        "tax": "0",
        "withdrawals": 1,
        "withdrawnShares": "20000000000000000000",
        "withdrawn": "20156543210000000001",
        "unlocks": 0,
        "paidOut": "0",
    },
}
