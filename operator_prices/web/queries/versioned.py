"""What is read together with the version of the data that it is of."""

from psycopg import sql

VERSION = sql.SQL(
    "SELECT lineage::text, version, coalesce((SELECT octet_length(document) FROM epoch_documents"
    " ORDER BY epoch DESC LIMIT 1), 0), row_security_state()"
    " FROM (SELECT) AS always LEFT JOIN data_version ON true"
)
HIDDEN = sql.SQL("SELECT hidden_tables(), row_security_state()")
EPOCH_AT_VERSION = sql.SQL(
    "SELECT wanted, lineage::text, version, 0, state,"
    " (SELECT json_build_object('epoch', fact.epoch, 'domainId', fact.domain_id,"
    " 'endBlock', fact.end_block, 'endHash', kept.end_hash, 'timestamp', fact.timestamp,"
    " 'timestampFromChain', coalesce(kept.source = 'chain', false),"
    " 'transitionBlock', kept.transition_block, 'transitionHash', kept.transition_hash,"
    " 'specVersion', kept.spec_version, 'source', kept.source, 'complete', kept.complete,"
    " 'totalStake', fact.total_stake_raw::text, 'totalShares', fact.total_shares_raw::text,"
    " 'networkStakePerShare', fact.network_stake_per_share::text,"
    " 'storageFees', fact.storage_fee_fund_raw::text,"
    " 'treasuryFunds', fact.treasury_funds_raw::text,"
    " 'chainRewards', fact.chain_rewards_raw::text, 'operatorCount', fact.operator_count,"
    " 'deposits', fact.deposits_count, 'withdrawals', fact.withdrawals_count,"
    " 'bundles', fact.bundles_count,"
    " 'operatorStakes', coalesce(fact.operator_total_stakes_json, '{}'),"
    " 'operatorActiveStakes', coalesce(fact.operator_stakes_json, '{}'),"
    " 'operatorShares', coalesce(fact.operator_shares_json, '{}'),"
    " 'rewards', coalesce(fact.operator_rewards_json, '{}'),"
    " 'sharePricesPerq', coalesce(fact.operator_share_prices_json, '{}'),"
    " 'stakePerShare', coalesce(fact.operator_stake_per_share_json, '{}'),"
    " 'priceSources', coalesce(fact.operator_price_sources_json, '{}'),"
    " 'statuses', coalesce(fact.operator_statuses_json, '{}'),"
    " 'quarantined', (SELECT coalesce(json_agg(json_build_object('item', item, 'storageKey',"
    " storage_key, 'reason', reason, 'source', misfit.source) ORDER BY id), '[]') FROM quarantine"
    " AS misfit WHERE misfit.epoch = fact.epoch),"
    " 'previous', (SELECT max(epoch) FROM epoch_documents WHERE epoch < wanted),"
    " 'next', (SELECT min(epoch) FROM epoch_documents WHERE epoch > wanted))::text"
    " FROM epoch_analytics AS fact JOIN epochs AS kept ON kept.epoch = fact.epoch"
    " WHERE fact.epoch = wanted) FROM unnest(%s::bigint[]) AS wanted,"
    " (SELECT row_security_state() AS state OFFSET 0) AS told LEFT JOIN data_version ON true"
)
"""Everything about some epochs, each as JSON, with the version that they are all of."""
