"""The columns of every asset: what each means and what it is made from, as the UI shows them."""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

RAW, PRICES, SHARES = "raw_epochs", "operator_share_prices", "operator_shares"
LEGACY = "legacy_epochs"
RAW_NOMINATORS = "raw_nominators"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `sources` are `asset.column`, for the lineage."""

    name: str
    type: str
    description: str
    sources: tuple[str, ...] = ()


TABLE_OF_ASSET = {RAW: "epochs", LEGACY: "epochs"}
"""Assets whose table has another name."""

_EPOCH = Column("epoch", "bigint", "Number of the epoch.")
_EPOCH_OF = Column("epoch", "integer", "Number of the epoch.", (f"{RAW}.epoch",))
_OPERATOR = Column("operator_id", "integer", "The operator's id on the chain.", (f"{RAW}.data",))
_AMOUNT = "numeric(40,0)"


def _of_data(*columns: tuple[str, str, str]) -> list[Column]:
    return [Column(*column, (f"{RAW}.data",)) for column in columns]


def _of_nominator(name: str, type_: str, description: str, source: str = "") -> Column:
    return Column(name, type_, description, (f"{RAW_NOMINATORS}.{source or name}",))


def _operators(shown: Iterable[int]) -> list[Column]:
    found = []
    for n in shown:
        found += [
            _made(
                f"operator_{n}_stake_tokens",
                f"Active stake of operator {n}, in AI3.",
                "active_stake_raw",
            ),
            _made(f"operator_{n}_rewards_tokens", f"Reward of operator {n}, in AI3.", "reward_raw"),
            _made(f"operator_{n}_shares_raw", f"Shares of operator {n}.", "shares_raw"),
            _made(
                f"operator_{n}_share_price_tokens",
                f"What a share of operator {n} is worth, in AI3.",
                *("shares_raw", "stake_raw", "reward_raw", "nomination_tax"),
            ),
        ]
    return found


def _made(name: str, description: str, *columns: str) -> Column:
    return Column(name, "numeric", description, tuple(f"{SHARES}.{column}" for column in columns))


def _both(name: str, description: str, *sources: str) -> list[Column]:
    """An amount in Shannons, and the same in AI3."""
    return [
        Column(f"{name}_raw", "numeric", f"{description}, in Shannons.", sources),
        Column(f"{name}_tokens", "numeric", f"{description}, in AI3.", sources),
    ]


def _json(name: str, description: str, *sources: str) -> Column:
    return Column(name, "jsonb", f"{description}, by operator id, as text.", sources)


COLUMNS: dict[str, list[Column]] = {
    RAW: [
        _EPOCH,
        Column("end_block", "bigint", "The epoch's last block, before the transition block."),
        Column("end_hash", "text", "Hash of the end block."),
        Column("timestamp", "bigint", "Time at the end block in Unix milliseconds, if known."),
        Column("data", "jsonb", "The epoch's own facts; amounts are exact decimal text."),
        Column("created_at", "timestamp with time zone", "When the row was first written."),
        Column("domain_id", "integer", "The domain."),
        Column("source", "text", "chain, or legacy; none for a row that the old system wrote."),
        Column("spec_version", "bigint", "Runtime that executed the end block."),
        Column("transition_block", "bigint", "The block that closed the epoch."),
        Column("transition_hash", "text", "Hash of the transition block."),
        Column("complete", "boolean", "False while something of the epoch is in quarantine."),
    ],
    PRICES: [
        _EPOCH_OF,
        _OPERATOR,
        *_of_data(
            ("share_price_perq", _AMOUNT, "The chain's price: shares per stake, times 10^18."),
            ("source", "text", "chain (stored there), epochs_json (legacy) or derived (computed)."),
        ),
        Column("inserted_at", "timestamp with time zone", "When the row was first written."),
    ],
    SHARES: [
        _EPOCH_OF,
        _OPERATOR,
        *_of_data(
            ("shares_raw", _AMOUNT, "Shares at the end block."),
            ("stake_raw", _AMOUNT, "Stake behind them, in Shannons."),
            ("active_stake_raw", _AMOUNT, "Stake that counts in this epoch; 0 when not active."),
            ("reward_raw", _AMOUNT, "Reward of the epoch, before tax, in Shannons."),
            ("storage_fee_deposit_raw", _AMOUNT, "Deposit for storage fees, in Shannons."),
            ("nomination_tax", "smallint", "What the operator takes of rewards, in percent."),
            ("status", "text", "The operator's status, in the chain's spelling."),
            ("shares_after_raw", _AMOUNT, "Shares at the transition block; none if it is gone."),
            ("stake_after_raw", _AMOUNT, "Stake at the transition block; none if it is gone."),
            ("owned_by", "text", "The account that owns the operator; none in legacy rows."),
        ),
        Column("source", "text", "chain, or legacy.", (f"{RAW}.source",)),
        Column("inserted_at", "timestamp with time zone", "When the row was first written."),
    ],
    RAW_NOMINATORS: [
        Column("epoch", "integer", "The epoch from which on the entry is as it is here."),
        Column("operator_id", "integer", "The operator's id on the chain."),
        Column("nominator", "text", "The account, as 0x and 64 hexadecimal digits."),
        Column("shares_raw", _AMOUNT, "Known shares; none without an entry in Deposits."),
        Column("storage_fee_deposit_raw", _AMOUNT, "Its known storage fee deposit."),
        Column("pending_epoch", "integer", "The epoch whose price makes shares of a deposit."),
        Column("pending_raw", _AMOUNT, "That deposit, without its storage fee."),
        Column("pending_storage_fee_raw", _AMOUNT, "The storage fee of that deposit."),
        Column("unlocking", "jsonb", "What waits for its block; none without a withdrawal."),
        Column("withdrawing_epoch", "integer", "The epoch at whose price shares leave."),
        Column("withdrawing_block", "bigint", "The domain block that will unlock them."),
        Column("withdrawing_shares_raw", _AMOUNT, "Those shares."),
        Column("withdrawing_storage_fee_raw", _AMOUNT, "What of the storage fee leaves with them."),
        Column("on_hold_raw", _AMOUNT, "What is held of deposits; none on older runtimes."),
        Column("pending_price_perq", _AMOUNT, "The price of pending_epoch, where it was listed."),
        Column("withdrawing_price_perq", _AMOUNT, "The same of withdrawing_epoch."),
        Column("source", "text", "chain, or legacy."),
    ],
    "operators_metadata": [
        _OPERATOR,
        Column("name", "text", "What people call it; theirs to set."),
        Column("color", "text", "How charts draw it; people's to set."),
        Column("first_seen_epoch", "integer", "First epoch that shows it.", (f"{RAW}.epoch",)),
        Column("last_seen_epoch", "integer", "Last epoch that shows it.", (f"{RAW}.epoch",)),
        Column("is_active", "boolean", "Registered, and in the latest epoch.", (f"{RAW}.data",)),
        *_of_data(
            ("owner", "text", "The account that owns it."),
            ("signing_key", "text", "The key it signs with."),
            ("nomination_tax", "smallint", "What it takes of rewards, in percent."),
            ("minimum_nominator_stake", _AMOUNT, "Least stake of a nominator, in Shannons."),
            ("status", "text", "Its latest status."),
        ),
        Column("metadata", "jsonb", "Whatever people keep about it."),
        Column("created_at", "timestamp with time zone", "When the row was first written."),
        Column("updated_at", "timestamp with time zone", "When the row last changed."),
    ],
    "nominator_positions": [
        _of_nominator("operator_id", "integer", "The operator's id on the chain."),
        _of_nominator("nominator", "text", "The account, as 0x and 64 hexadecimal digits."),
        _of_nominator("epoch", "integer", "The epoch from which on the position is this."),
        Column("until_epoch", "integer", "The epoch of the next row of the two, if any."),
        Column("ended", "boolean", "Whether there is nothing any more."),
        *(
            _of_nominator(name, _AMOUNT, description, source)
            for name, description, source in (
                ("shares_raw", "Shares, with what was converted meanwhile.", "shares_raw"),
                ("pending_raw", "A deposit that is no shares yet.", "pending_raw"),
                ("withdrawing_shares_raw", "Shares that leave.", "withdrawing_shares_raw"),
                ("unlocking_raw", "What waits for its block.", "unlocking"),
            )
        ),
        _of_nominator("unlocking", "jsonb", "Each with its block.", "unlocking"),
        *(
            _of_nominator(name, _AMOUNT, description, source)
            for name, description, source in (
                ("storage_fee_deposit_raw", "Storage fee deposit.", "storage_fee_deposit_raw"),
                ("on_hold_raw", "What is held of deposits.", "on_hold_raw"),
                ("deposited_raw", "Paid in here, less the storage fee.", "pending_raw"),
                ("deposited_storage_fee_raw", "Its storage fee.", "pending_storage_fee_raw"),
                ("tax_raw", "Minted to the owner as tax, less the storage fee.", "pending_raw"),
                ("tax_storage_fee_raw", "Its storage fee.", "pending_storage_fee_raw"),
                ("withdrawn_shares_raw", "Shares taken out here.", "withdrawing_shares_raw"),
                ("released_raw", "Paid out here, less the storage fee.", "unlocking"),
                ("released_storage_fee_raw", "What of the storage fee came back.", "unlocking"),
            )
        ),
        _of_nominator("source", "text", "chain, or legacy."),
        Column("inserted_at", "timestamp with time zone", "When the row was first written."),
    ],
    "comprehensive_analytics": [
        Column("epoch", "bigint", "Number of the epoch.", (f"{RAW}.epoch",)),
        Column("end_block", "bigint", "The epoch's last block.", (f"{RAW}.end_block",)),
        Column("timestamp", "bigint", "Unix milliseconds.", (f"{RAW}.timestamp",)),
        Column("epoch_datetime", "timestamp with time zone", "As time.", (f"{RAW}.timestamp",)),
        Column("epoch_date", "date", "As date, UTC.", (f"{RAW}.timestamp",)),
        *_both("total_stake", "Stake of all active operators", f"{RAW}.data"),
        *_both("total_shares", "Shares of all operators", f"{SHARES}.shares_raw"),
        _made(
            "network_share_price_ratio",
            "Stake per share over all operators with shares.",
            "shares_raw",
            "stake_raw",
        ),
        *_both("treasury_funds", "Funds of the treasury", f"{RAW}.data"),
        *_both("chain_rewards", "Rewards of the domain's chain", f"{RAW}.data"),
        *_both(
            "storage_fee_fund",
            "Storage fee deposits of all operators",
            f"{SHARES}.storage_fee_deposit_raw",
        ),
        Column(
            "storage_fee_percentage",
            "numeric",
            "Storage fee deposits in percent of the total stake.",
            (f"{SHARES}.storage_fee_deposit_raw", f"{RAW}.data"),
        ),
        *_operators(range(4)),
        Column("operator_count", "bigint", "Operators there are.", (f"{SHARES}.operator_id",)),
        Column("deposits_count", "numeric", "Entries of the deposits map.", (f"{RAW}.data",)),
        Column("withdrawals_count", "numeric", "Entries of the withdrawals map.", (f"{RAW}.data",)),
        Column("bundles_count", "numeric", "Successful bundles.", (f"{RAW}.data",)),
        _json("operator_share_prices_json", "Share prices", f"{PRICES}.share_price_perq"),
        _json("operator_stakes_json", "Active stakes", f"{SHARES}.active_stake_raw"),
        _json("operator_rewards_json", "Rewards", f"{SHARES}.reward_raw"),
        _json("operator_shares_json", "Shares", f"{SHARES}.shares_raw"),
        _json(
            "operator_stake_per_share_json",
            "Stake per share, times 10^18",
            *(
                f"{SHARES}.{name}"
                for name in ("shares_raw", "stake_raw", "reward_raw", "nomination_tax")
            ),
        ),
        _json("operator_total_stakes_json", "Stakes", f"{SHARES}.stake_raw"),
        _json("operator_price_sources_json", "Where prices are from", f"{PRICES}.source"),
        _json("operator_statuses_json", "Statuses", f"{SHARES}.status"),
        Column("domain_id", "integer", "The domain.", (f"{RAW}.domain_id",)),
    ],
}


INGESTED = tuple(COLUMNS)
"""The assets that are made from the chain, in the order of the graph."""

COLUMNS[LEGACY] = COLUMNS[RAW]


def table_metadata(asset: str) -> dict[str, object]:
    """The metadata that shows an asset's table, its columns, and what each is made from."""
    columns = COLUMNS[asset]
    return {
        "dagster/table_name": f"public.{TABLE_OF_ASSET.get(asset, asset)}",
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(one.name, one.type, one.description) for one in columns]
        ),
        "dagster/column_lineage": dg.TableColumnLineage(
            deps_by_column={
                one.name: [
                    dg.TableColumnDep(asset_key=dg.AssetKey(source), column_name=column)
                    for source, _, column in (name.partition(".") for name in one.sources)
                ]
                for one in columns
                if one.sources
            }
        ),
    }
