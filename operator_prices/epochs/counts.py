"""The maps whose entries raw epochs count; knows no Polars."""

COUNTED = {
    "deposits": "Deposits",
    "withdrawals": "Withdrawals",
    "successfulBundles": "SuccessfulBundles",
}
"""Members of a raw epoch that hold a count, by the storage item that it is of; null is unknown."""
