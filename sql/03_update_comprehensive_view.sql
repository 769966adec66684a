-- comprehensive_analytics becomes a view over a table with one row per epoch, which
-- refresh_epoch_analytics keeps up to date for the epochs it is told: the cost is that of the epochs
-- touched, not of the history. The old view stays, as comprehensive_analytics_old.
-- depends: 02_create_number_functions

-- NUMERIC without precision: a sum over operators may exceed what one operator can hold.
CREATE TABLE epoch_analytics (
  epoch BIGINT PRIMARY KEY,
  domain_id INTEGER,
  end_block BIGINT NOT NULL,
  timestamp BIGINT NOT NULL,
  total_stake_raw NUMERIC,
  total_shares_raw NUMERIC,
  network_stake_per_share NUMERIC,
  treasury_funds_raw NUMERIC,
  chain_rewards_raw NUMERIC,
  storage_fee_fund_raw NUMERIC,
  operator_0_stake_raw NUMERIC,
  operator_1_stake_raw NUMERIC,
  operator_2_stake_raw NUMERIC,
  operator_3_stake_raw NUMERIC,
  operator_0_rewards_raw NUMERIC,
  operator_1_rewards_raw NUMERIC,
  operator_2_rewards_raw NUMERIC,
  operator_3_rewards_raw NUMERIC,
  operator_0_shares_raw NUMERIC,
  operator_1_shares_raw NUMERIC,
  operator_2_shares_raw NUMERIC,
  operator_3_shares_raw NUMERIC,
  operator_0_stake_per_share NUMERIC,
  operator_1_stake_per_share NUMERIC,
  operator_2_stake_per_share NUMERIC,
  operator_3_stake_per_share NUMERIC,
  operator_count BIGINT,
  deposits_count NUMERIC,
  withdrawals_count NUMERIC,
  bundles_count NUMERIC,
  operator_share_prices_json JSONB,
  operator_stakes_json JSONB,
  operator_rewards_json JSONB,
  operator_shares_json JSONB,
  operator_stake_per_share_json JSONB,
  operator_total_stakes_json JSONB,
  operator_price_sources_json JSONB,
  operator_statuses_json JSONB
);
COMMENT ON TABLE epoch_analytics IS
  'One row per epoch in raw integers, *_stake_per_share times 10^18; see refresh_epoch_analytics.';

-- The raw epochs as the pipeline reads them. A later migration may put the normal form of a row that
-- the old system wrote in the place of its data.
CREATE VIEW raw_epochs AS
SELECT epoch, end_block, end_hash, timestamp, data, domain_id::integer AS domain_id, source,
       spec_version, transition_block, transition_hash, complete::boolean AS complete
FROM epochs;

-- What epoch_analytics should say about these epochs. Unknown is NULL; a JSON object has a key
-- exactly for the operators whose value is known. An epoch without operators has zero of them only
-- if it is complete: one that was never normalized has an unknown number. Where an operator is in
-- quarantine, what is summed or counted over all operators is unknown.
CREATE FUNCTION epoch_analytics_of(first_epoch BIGINT, last_epoch BIGINT)
RETURNS SETOF epoch_analytics LANGUAGE sql STABLE AS $$
WITH fact AS MATERIALIZED (
  SELECT epoch, domain_id, end_block, timestamp, complete,
         "domainStakingSummary" ->> 'currentTotalStake' AS total_stake,
         CASE jsonb_typeof("domainStakingSummary" -> 'currentEpochRewards')
           WHEN 'object' THEN "domainStakingSummary" -> 'currentEpochRewards' END AS rewards,
         "accumulatedTreasuryFunds" AS treasury_funds, "domainChainRewards" AS chain_rewards,
         deposits ->> 'count' AS deposits, withdrawals ->> 'count' AS withdrawals,
         "successfulBundles" ->> 'count' AS bundles,
         CASE jsonb_typeof(quarantined) WHEN 'array' THEN quarantined ELSE '[]' END AS quarantined
  FROM raw_epochs
  CROSS JOIN LATERAL jsonb_to_record(  -- reads the stored document once, not once per key
    CASE jsonb_typeof(data) WHEN 'object' THEN data ELSE '{}' END
  ) AS document (
    "domainStakingSummary" JSONB, "accumulatedTreasuryFunds" TEXT, "domainChainRewards" TEXT,
    deposits JSONB, withdrawals JSONB, "successfulBundles" JSONB, quarantined JSONB)
  WHERE epoch BETWEEN first_epoch AND last_epoch
), operator AS MATERIALIZED (
  SELECT *, stake_per_share(shares_raw, stake_raw, reward_raw, nomination_tax) AS stake_per_share
  FROM operator_shares
  WHERE epoch BETWEEN first_epoch AND last_epoch
), counted AS (
  SELECT epoch, count(*) AS operators,
         sum(shares_raw) AS shares,
         CASE WHEN bool_and(stake_raw IS NOT NULL OR shares_raw = 0) THEN
           div(sum(stake_raw) FILTER (WHERE shares_raw > 0) * 1000000000000000000,
               nullif(sum(shares_raw), 0)) END AS network_stake_per_share,
         CASE WHEN bool_and(storage_fee_deposit_raw IS NOT NULL) THEN
           sum(storage_fee_deposit_raw) END AS storage_fees,
         max(active_stake_raw) FILTER (WHERE operator_id = 0) AS stake_0,
         max(active_stake_raw) FILTER (WHERE operator_id = 1) AS stake_1,
         max(active_stake_raw) FILTER (WHERE operator_id = 2) AS stake_2,
         max(active_stake_raw) FILTER (WHERE operator_id = 3) AS stake_3,
         max(reward_raw) FILTER (WHERE operator_id = 0) AS reward_0,
         max(reward_raw) FILTER (WHERE operator_id = 1) AS reward_1,
         max(reward_raw) FILTER (WHERE operator_id = 2) AS reward_2,
         max(reward_raw) FILTER (WHERE operator_id = 3) AS reward_3,
         max(shares_raw) FILTER (WHERE operator_id = 0) AS shares_0,
         max(shares_raw) FILTER (WHERE operator_id = 1) AS shares_1,
         max(shares_raw) FILTER (WHERE operator_id = 2) AS shares_2,
         max(shares_raw) FILTER (WHERE operator_id = 3) AS shares_3,
         max(stake_per_share) FILTER (WHERE operator_id = 0) AS per_share_0,
         max(stake_per_share) FILTER (WHERE operator_id = 1) AS per_share_1,
         max(stake_per_share) FILTER (WHERE operator_id = 2) AS per_share_2,
         max(stake_per_share) FILTER (WHERE operator_id = 3) AS per_share_3,
         jsonb_object_agg(operator_id, active_stake_raw::text)
           FILTER (WHERE active_stake_raw IS NOT NULL) AS stakes_json,
         jsonb_object_agg(operator_id, reward_raw::text)
           FILTER (WHERE reward_raw IS NOT NULL) AS rewards_json,
         jsonb_object_agg(operator_id, shares_raw::text) AS shares_json,
         jsonb_object_agg(operator_id, stake_per_share::text)
           FILTER (WHERE stake_per_share IS NOT NULL) AS per_share_json,
         jsonb_object_agg(operator_id, stake_raw::text)
           FILTER (WHERE stake_raw IS NOT NULL) AS total_stakes_json,
         jsonb_object_agg(operator_id, status) FILTER (WHERE status IS NOT NULL) AS statuses_json
  FROM operator GROUP BY epoch
), departed AS (  -- rewarded, but gone before the epoch was over
  SELECT fact.epoch, jsonb_object_agg(id, number_or_null(amount)::text) AS rewards_json
  FROM fact CROSS JOIN LATERAL jsonb_each_text(rewards) AS told (id, amount)
  LEFT JOIN operator ON operator.epoch = fact.epoch AND operator.operator_id::text = id
  WHERE operator.epoch IS NULL AND number_or_null(amount) IS NOT NULL
  GROUP BY fact.epoch
), priced AS (
  SELECT epoch, jsonb_object_agg(operator_id, share_price_perq::text) AS prices_json,
         jsonb_object_agg(operator_id, source) AS sources_json
  FROM operator_share_prices
  WHERE epoch BETWEEN first_epoch AND last_epoch
  GROUP BY epoch
)
SELECT fact.epoch::bigint, domain_id, end_block::bigint, timestamp::bigint,
       number_or_null(total_stake),
       CASE WHEN every_operator THEN coalesce(shares, none_at_all) END,
       CASE WHEN every_operator THEN network_stake_per_share END,
       number_or_null(treasury_funds),
       number_or_null(chain_rewards),
       CASE WHEN every_operator THEN coalesce(storage_fees, none_at_all) END,
       stake_0, stake_1, stake_2, stake_3,
       coalesce(reward_0, (gone.rewards_json ->> '0')::numeric, CASE WHEN NOT rewards ? '0' THEN 0 END),
       coalesce(reward_1, (gone.rewards_json ->> '1')::numeric, CASE WHEN NOT rewards ? '1' THEN 0 END),
       coalesce(reward_2, (gone.rewards_json ->> '2')::numeric, CASE WHEN NOT rewards ? '2' THEN 0 END),
       coalesce(reward_3, (gone.rewards_json ->> '3')::numeric, CASE WHEN NOT rewards ? '3' THEN 0 END),
       shares_0, shares_1, shares_2, shares_3,
       per_share_0, per_share_1, per_share_2, per_share_3,
       CASE WHEN every_operator THEN coalesce(operators, none_at_all) END,
       number_or_null(deposits),
       number_or_null(withdrawals),
       number_or_null(bundles),
       coalesce(prices_json, nothing),
       coalesce(stakes_json, nothing),
       coalesce(counted.rewards_json || gone.rewards_json, gone.rewards_json, counted.rewards_json,
                nothing),
       coalesce(shares_json, nothing),
       coalesce(per_share_json, nothing),
       coalesce(total_stakes_json, nothing),
       coalesce(sources_json, nothing),
       coalesce(statuses_json, nothing)
FROM fact
LEFT JOIN counted ON counted.epoch = fact.epoch
LEFT JOIN departed AS gone ON gone.epoch = fact.epoch
LEFT JOIN priced ON priced.epoch = fact.epoch
CROSS JOIN LATERAL (
  SELECT CASE WHEN complete AND operators IS NULL THEN 0 END AS none_at_all,
         CASE WHEN complete OR operators > 0 THEN '{}'::jsonb END AS nothing,
         NOT EXISTS (
           SELECT FROM jsonb_array_elements(quarantined) AS misfit
           WHERE misfit ->> 'item' = 'Operators' AND NOT EXISTS (
             SELECT FROM operator
             WHERE operator.epoch = fact.epoch
               AND operator.operator_id::text = misfit ->> 'operatorId')) AS every_operator
) AS known
$$;

-- Make epoch_analytics say what it should about these epochs, touching only rows that differ.
-- Returns how many rows that changed. Planned anew each time: a plan that suits every range is one for
-- small ranges, and takes half a minute for 5,000 epochs instead of three seconds.
CREATE FUNCTION refresh_epoch_analytics(first_epoch BIGINT, last_epoch BIGINT) RETURNS BIGINT
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  removed BIGINT;
  written BIGINT;
BEGIN
  DELETE FROM epoch_analytics AS stored
    WHERE stored.epoch BETWEEN first_epoch AND last_epoch
      AND NOT EXISTS (SELECT FROM epochs WHERE epochs.epoch = stored.epoch);
  GET DIAGNOSTICS removed = ROW_COUNT;
  INSERT INTO epoch_analytics AS stored
    SELECT fresh.* FROM epoch_analytics_of(first_epoch, last_epoch) AS fresh
    WHERE NOT EXISTS (
      SELECT FROM epoch_analytics AS same
      WHERE same.epoch BETWEEN first_epoch AND last_epoch
        AND same.epoch = fresh.epoch AND same IS NOT DISTINCT FROM fresh)
    ON CONFLICT (epoch) DO UPDATE SET
      (domain_id, end_block, timestamp, total_stake_raw, total_shares_raw, network_stake_per_share,
       treasury_funds_raw, chain_rewards_raw, storage_fee_fund_raw,
       operator_0_stake_raw, operator_1_stake_raw, operator_2_stake_raw, operator_3_stake_raw,
       operator_0_rewards_raw, operator_1_rewards_raw, operator_2_rewards_raw, operator_3_rewards_raw,
       operator_0_shares_raw, operator_1_shares_raw, operator_2_shares_raw, operator_3_shares_raw,
       operator_0_stake_per_share, operator_1_stake_per_share, operator_2_stake_per_share,
       operator_3_stake_per_share, operator_count, deposits_count, withdrawals_count, bundles_count,
       operator_share_prices_json, operator_stakes_json, operator_rewards_json, operator_shares_json,
       operator_stake_per_share_json, operator_total_stakes_json, operator_price_sources_json,
       operator_statuses_json)
      = ROW
      (excluded.domain_id, excluded.end_block, excluded.timestamp, excluded.total_stake_raw,
       excluded.total_shares_raw, excluded.network_stake_per_share,
       excluded.treasury_funds_raw, excluded.chain_rewards_raw, excluded.storage_fee_fund_raw,
       excluded.operator_0_stake_raw, excluded.operator_1_stake_raw,
       excluded.operator_2_stake_raw, excluded.operator_3_stake_raw,
       excluded.operator_0_rewards_raw, excluded.operator_1_rewards_raw,
       excluded.operator_2_rewards_raw, excluded.operator_3_rewards_raw,
       excluded.operator_0_shares_raw, excluded.operator_1_shares_raw,
       excluded.operator_2_shares_raw, excluded.operator_3_shares_raw,
       excluded.operator_0_stake_per_share, excluded.operator_1_stake_per_share,
       excluded.operator_2_stake_per_share, excluded.operator_3_stake_per_share,
       excluded.operator_count, excluded.deposits_count, excluded.withdrawals_count,
       excluded.bundles_count, excluded.operator_share_prices_json, excluded.operator_stakes_json,
       excluded.operator_rewards_json, excluded.operator_shares_json,
       excluded.operator_stake_per_share_json, excluded.operator_total_stakes_json,
       excluded.operator_price_sources_json, excluded.operator_statuses_json);
  GET DIAGNOSTICS written = ROW_COUNT;
  RETURN removed + written;
END
$$;

DO $$
BEGIN
  IF to_regclass('comprehensive_analytics') IS NOT NULL THEN
    INSERT INTO before_migration (kind, name) VALUES ('view', 'comprehensive_analytics');
    ALTER TABLE comprehensive_analytics RENAME TO comprehensive_analytics_old;  -- a view of any kind
  END IF;
END
$$;

-- Multiplied by 10^-18 and never divided by 10^18: NUMERIC division rounds.
CREATE VIEW comprehensive_analytics AS
SELECT
  epoch,
  end_block,
  timestamp,
  TIMESTAMPTZ 'epoch' + timestamp * INTERVAL '1 millisecond' AS epoch_datetime,
  (TIMESTAMP 'epoch' + timestamp * INTERVAL '1 millisecond')::date AS epoch_date,
  total_stake_raw,
  total_stake_raw * 0.000000000000000001 AS total_stake_tokens,
  total_shares_raw,
  total_shares_raw * 0.000000000000000001 AS total_shares_tokens,
  network_stake_per_share * 0.000000000000000001 AS network_share_price_ratio,
  treasury_funds_raw,
  treasury_funds_raw * 0.000000000000000001 AS treasury_funds_tokens,
  chain_rewards_raw,
  chain_rewards_raw * 0.000000000000000001 AS chain_rewards_tokens,
  storage_fee_fund_raw,
  storage_fee_fund_raw * 0.000000000000000001 AS storage_fee_fund_tokens,
  div(storage_fee_fund_raw * 100000000000000000000, nullif(total_stake_raw, 0))
    * 0.000000000000000001 AS storage_fee_percentage,
  operator_0_stake_raw * 0.000000000000000001 AS operator_0_stake_tokens,
  operator_1_stake_raw * 0.000000000000000001 AS operator_1_stake_tokens,
  operator_2_stake_raw * 0.000000000000000001 AS operator_2_stake_tokens,
  operator_3_stake_raw * 0.000000000000000001 AS operator_3_stake_tokens,
  operator_0_rewards_raw * 0.000000000000000001 AS operator_0_rewards_tokens,
  operator_1_rewards_raw * 0.000000000000000001 AS operator_1_rewards_tokens,
  operator_2_rewards_raw * 0.000000000000000001 AS operator_2_rewards_tokens,
  operator_3_rewards_raw * 0.000000000000000001 AS operator_3_rewards_tokens,
  operator_0_shares_raw,
  operator_1_shares_raw,
  operator_2_shares_raw,
  operator_3_shares_raw,
  operator_0_stake_per_share * 0.000000000000000001 AS operator_0_share_price_tokens,
  operator_1_stake_per_share * 0.000000000000000001 AS operator_1_share_price_tokens,
  operator_2_stake_per_share * 0.000000000000000001 AS operator_2_share_price_tokens,
  operator_3_stake_per_share * 0.000000000000000001 AS operator_3_share_price_tokens,
  operator_count,
  deposits_count,
  withdrawals_count,
  bundles_count,
  operator_share_prices_json,
  operator_stakes_json,
  operator_rewards_json,
  operator_shares_json,
  operator_stake_per_share_json,
  operator_total_stakes_json,
  operator_price_sources_json,
  operator_statuses_json,
  domain_id
FROM epoch_analytics;
COMMENT ON VIEW comprehensive_analytics IS
  'One row per epoch; unknown is NULL; tokens and ratios have 18 exact decimals.';

-- Whoever may read the old view may read the one that takes its name.
DO $$
DECLARE
  reader TEXT;
BEGIN
  FOR reader IN
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)
    WHERE oid = to_regclass('comprehensive_analytics_old') AND privilege_type = 'SELECT'
  LOOP
    EXECUTE format('GRANT SELECT ON comprehensive_analytics TO %s', reader);
  END LOOP;
END
$$;
