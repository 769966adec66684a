# ruff: noqa: E501 - SQL
"""A made-up history of any size, written straight into the tables: for tests and benchmarks."""

import psycopg
from psycopg import sql

BEGUN = 1_700_000_000_000
"""Milliseconds: when epoch 0 of it ends."""

EPOCH = 690_000
"""Milliseconds of an epoch: about 115 blocks of 6 seconds."""

OPERATORS = """
INSERT INTO operators_metadata (operator_id, first_seen_epoch, last_seen_epoch, is_active, owner,
    signing_key, nomination_tax, minimum_nominator_stake, status)
  SELECT id, 0, {last}, true, 'su' || md5(id::text), '0x' || md5(id::text) || md5(id::text), id % 31,
    1000000000000000000, 'Registered' FROM generate_series(0, {operators} - 1) AS id
  ON CONFLICT (operator_id) DO UPDATE SET last_seen_epoch = excluded.last_seen_epoch
"""
SHARES = """
INSERT INTO operator_shares (epoch, operator_id, shares_raw, stake_raw, active_stake_raw, reward_raw,
    storage_fee_deposit_raw, nomination_tax, status, owned_by, source)
  SELECT epoch, id, shares, stake, stake, reward, div(stake, 4), id % 31, 'Registered',
    'su' || md5(id::text), 'chain'
  FROM generate_series({first}, {last}) AS epoch, generate_series(0, {operators} - 1) AS id,
    LATERAL (SELECT 100000000000000000000::numeric * (id + 3) + 987654321987654321 AS shares)
      AS a,
    LATERAL (SELECT shares + div(shares * (epoch + 1) * (50 + id), 10000000) + epoch * 7919 AS stake,
      CASE WHEN (epoch + id) % 4 = 0
        THEN div(shares * (50 + (id * 31 + epoch * 17) % 40), 2500000) ELSE 0 END AS reward) AS b
"""
PRICES = """
INSERT INTO operator_share_prices (epoch, operator_id, share_price_perq, source)
  SELECT epoch, operator_id, div(shares_raw * 1000000000000000000, stake_raw + reward_raw
      - div(reward_raw * nomination_tax, 100)),
    CASE WHEN (epoch + operator_id) % 3 = 0 THEN 'chain' ELSE 'derived' END
  FROM operator_shares WHERE epoch BETWEEN {first} AND {last}
"""
EPOCHS = """
INSERT INTO epochs (epoch, end_block, end_hash, timestamp, domain_id, source, spec_version,
    transition_block, transition_hash, complete, data)
  SELECT wanted.epoch, 1000 + 115 * epoch, '0x' || repeat(md5(epoch::text), 2), {begun} + {pace}::bigint * epoch, 0,
    'chain', 1, 1001 + 115 * epoch, '0x' || repeat(md5((-epoch)::text), 2), true,
    jsonb_build_object('epoch', epoch, 'domainStakingSummary', jsonb_build_object(
        'currentEpochIndex', epoch::text, 'currentTotalStake', total::text,
        'currentOperators', stakes, 'currentEpochRewards', rewards),
      'accumulatedTreasuryFunds', '1000', 'domainChainRewards', '2000', 'quarantined', '[]'::jsonb)
    || raw
  FROM generate_series({first}, {last}) AS wanted (epoch) CROSS JOIN LATERAL (
    SELECT sum(stake_raw) AS total, jsonb_object_agg(operator_id, stake_raw::text) AS stakes,
      jsonb_object_agg(operator_id, reward_raw::text) AS rewards
    FROM operator_shares WHERE operator_shares.epoch = wanted.epoch) AS summed
  CROSS JOIN LATERAL ({raw}) AS documents
"""
RAW = """
    SELECT jsonb_build_object('operators', jsonb_build_object('entries', jsonb_agg(jsonb_build_object(
        'key', jsonb_build_array(operator_id::text), 'owner', owner, 'activeStake', stake_raw::text,
        'reward', reward_raw::text,
        'after', jsonb_build_object('partialStatus', 'Registered', 'currentTotalStake',
          stake_raw::text, 'currentTotalShares', shares_raw::text),
        'value', jsonb_build_object('signingKey', signing_key, 'nominationTax', share.nomination_tax,
          'partialStatus', 'Registered', 'currentDomainId', 0, 'depositsInEpoch', '0',
          'currentTotalStake', stake_raw::text, 'currentTotalShares', shares_raw::text,
          'withdrawalsInEpoch', '0', 'minimumNominatorStake', minimum_nominator_stake::text,
          'totalStorageFeeDeposit', storage_fee_deposit_raw::text)))),
      'operatorEpochSharePrice', jsonb_build_object('entries', jsonb_agg(jsonb_build_object(
        'key', jsonb_build_array(operator_id::text, concat('[0,', share.epoch, ']')),
        'value', share_price_perq::text)))) AS raw
    FROM operator_shares AS share JOIN operators_metadata USING (operator_id)
    JOIN operator_share_prices USING (epoch, operator_id)
    WHERE share.epoch = wanted.epoch
"""
SPARSE = "SELECT '{}'::jsonb AS raw"
AT_ONCE = 500


def write(
    connection: psycopg.Connection,
    first: int,
    last: int,
    operators: int,
    *,
    raw: bool = True,
    begun: int = BEGUN,
) -> None:
    """Fill the tables with the epochs `first..last`; without `raw`, epochs keep no operators."""
    for start in range(first, last + 1, AT_ONCE):
        names = {
            "first": sql.Literal(start),
            "last": sql.Literal(min(start + AT_ONCE - 1, last)),
            "operators": sql.Literal(operators),
            "begun": sql.Literal(begun),
            "pace": sql.Literal(EPOCH),
            "raw": sql.SQL(RAW if raw else SPARSE),
        }
        with connection.transaction():
            for statement in (OPERATORS, SHARES, PRICES, EPOCHS):
                connection.execute(sql.SQL(statement).format(**names))
        connection.execute(
            "SELECT refresh_epoch_analytics(%s, %s)", [start, min(start + AT_ONCE - 1, last)]
        )


def settle(connection: psycopg.Connection) -> None:
    """What autovacuum does in time."""
    connection.execute("VACUUM ANALYZE")
