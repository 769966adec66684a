-- Filling a window for the first time costs less: JSON is kept as it comes, since compressing it took
-- longer than all else that is done with it; rows are compared only where some are stored; numbers are
-- read, and prices computed, without a call for each row. What the tables say stays the same, and rows
-- that are there stay as they are. No lock is held for longer than the catalog needs.
-- depends: 22_walk_operator_events

INSERT INTO before_migration (kind, name, definition)
  SELECT 'storage', attname, CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                                             WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END
  FROM pg_attribute WHERE attrelid = 'epochs'::regclass AND attname = 'data';
ALTER TABLE epochs ALTER data SET STORAGE EXTERNAL;
ALTER TABLE epoch_analytics
  ALTER operator_share_prices_json SET STORAGE EXTERNAL,
  ALTER operator_stakes_json SET STORAGE EXTERNAL,
  ALTER operator_rewards_json SET STORAGE EXTERNAL,
  ALTER operator_shares_json SET STORAGE EXTERNAL,
  ALTER operator_stake_per_share_json SET STORAGE EXTERNAL,
  ALTER operator_total_stakes_json SET STORAGE EXTERNAL,
  ALTER operator_price_sources_json SET STORAGE EXTERNAL,
  ALTER operator_statuses_json SET STORAGE EXTERNAL;

INSERT INTO before_migration (kind, name, definition)
  SELECT 'slower definition', function::text, pg_get_functiondef(function)
  FROM unnest(ARRAY[
    'epoch_analytics_of(bigint, bigint)', 'operator_points_of(bigint, bigint)',
    'refresh_epoch_documents(bigint, bigint)']::regprocedure[]) AS function;

CREATE OR REPLACE FUNCTION epoch_analytics_of(first_epoch BIGINT, last_epoch BIGINT)
RETURNS SETOF epoch_analytics LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan AS $$
BEGIN RETURN QUERY
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
  SELECT *, CASE WHEN shares_raw > 0 THEN  -- as stake_per_share, without a call for each row
           div((stake_raw + reward_raw - div(reward_raw * nomination_tax, 100))
               * 1000000000000000000, shares_raw) END AS stake_per_share
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
         jsonb_object_agg(operator_id, shares_raw::text)
           FILTER (WHERE shares_raw IS NOT NULL) AS shares_json,
         jsonb_object_agg(operator_id, stake_per_share::text)
           FILTER (WHERE stake_per_share IS NOT NULL) AS per_share_json,
         jsonb_object_agg(operator_id, stake_raw::text)
           FILTER (WHERE stake_raw IS NOT NULL) AS total_stakes_json,
         jsonb_object_agg(operator_id, status) FILTER (WHERE status IS NOT NULL) AS statuses_json
  FROM operator GROUP BY epoch
), departed AS (  -- rewarded, but gone before the epoch was over
  SELECT epoch, jsonb_object_agg(id, number_or_null(amount)::text) AS rewards_json
  FROM (
    SELECT fact.epoch, id, amount
    FROM fact CROSS JOIN LATERAL jsonb_each_text(rewards) AS told (id, amount)
    LEFT JOIN operator ON operator.epoch = fact.epoch AND operator.operator_id::text = id
    WHERE operator.epoch IS NULL
    OFFSET 0  -- what those say who are still there is not read as a number
  ) AS gone
  WHERE number_or_null(amount) IS NOT NULL
  GROUP BY epoch
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
) AS known;
END
$$;

CREATE OR REPLACE FUNCTION operator_points_of(first_epoch BIGINT, last_epoch BIGINT)
RETURNS SETOF operator_points LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan AS $$
BEGIN RETURN QUERY
SELECT epoch::bigint, operator_id, concat(
  '{"epoch":', epoch,
  ',"operatorId":', operator_id,
  ',"timestamp":', coalesce(timestamp::text, 'null'),
  ',"sharePricePerq":', coalesce('"' || share_price_perq || '"', 'null'),
  ',"stakePerShare":', coalesce(
    '"' || CASE WHEN shares_raw > 0 THEN  -- as stake_per_share, without a call for each row
      div((stake_raw + reward_raw - div(reward_raw * nomination_tax, 100))
          * 1000000000000000000, shares_raw) END || '"', 'null'),
  ',"stake":', coalesce('"' || stake_raw || '"', 'null'),
  ',"shares":', coalesce('"' || shares_raw || '"', 'null'),
  ',"reward":', coalesce('"' || reward_raw || '"', 'null'),
  ',"nominationTax":', coalesce(nomination_tax::text, 'null'),
  ',"status":', coalesce(to_json(status)::text, 'null'),
  ',"source":', coalesce('"' || price.source || '"', 'null'), '}')
FROM (SELECT * FROM operator_shares WHERE epoch BETWEEN first_epoch AND last_epoch) AS share
FULL JOIN (SELECT epoch, operator_id, share_price_perq, source FROM operator_share_prices
           WHERE epoch BETWEEN first_epoch AND last_epoch) AS price USING (epoch, operator_id)
LEFT JOIN (SELECT epoch::integer, timestamp FROM epoch_analytics
           WHERE epoch BETWEEN first_epoch AND last_epoch) AS document USING (epoch);
END
$$;

CREATE OR REPLACE FUNCTION refresh_epoch_documents(first_epoch BIGINT, last_epoch BIGINT)
RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
  removed BIGINT;
  written BIGINT;
BEGIN
  DELETE FROM epoch_documents AS stored
    WHERE stored.epoch BETWEEN first_epoch AND last_epoch
      AND NOT EXISTS (SELECT FROM epoch_analytics AS fact WHERE fact.epoch = stored.epoch);
  GET DIAGNOSTICS removed = ROW_COUNT;
  INSERT INTO epoch_documents AS stored (epoch, timestamp, from_chain, document)
    SELECT fresh.* FROM (
      SELECT fact.epoch, fact.timestamp, coalesce(epochs.source = 'chain', false) AS from_chain,
             epoch_document(fact, NULL) AS document
      FROM epoch_analytics AS fact JOIN epochs ON epochs.epoch = fact.epoch
      WHERE fact.epoch BETWEEN first_epoch AND last_epoch
      OFFSET 0  -- each document is written once, not once per mention
    ) AS fresh
    LEFT JOIN epoch_documents AS same
      ON same.epoch = fresh.epoch AND same.epoch BETWEEN first_epoch AND last_epoch
    WHERE same.epoch IS NULL
       OR (same.timestamp, same.from_chain, same.document)
          IS DISTINCT FROM (fresh.timestamp, fresh.from_chain, fresh.document)
    ORDER BY fresh.epoch
    ON CONFLICT (epoch) DO UPDATE SET
      (timestamp, from_chain, document)
      = ROW (excluded.timestamp, excluded.from_chain, excluded.document);
  GET DIAGNOSTICS written = ROW_COUNT;
  IF EXISTS (SELECT FROM operator_points WHERE epoch BETWEEN first_epoch AND last_epoch) THEN
    DELETE FROM operator_points AS stored
      WHERE stored.epoch BETWEEN first_epoch AND last_epoch
        AND NOT EXISTS (SELECT FROM operator_shares AS share WHERE share.epoch = stored.epoch
                          AND share.operator_id = stored.operator_id)
        AND NOT EXISTS (SELECT FROM operator_share_prices AS price WHERE price.epoch = stored.epoch
                          AND price.operator_id = stored.operator_id);
    INSERT INTO operator_points AS stored
      SELECT fresh.* FROM operator_points_of(first_epoch, last_epoch) AS fresh
      LEFT JOIN operator_points AS same
        ON same.epoch = fresh.epoch AND same.operator_id = fresh.operator_id
        AND same.epoch BETWEEN first_epoch AND last_epoch
      WHERE same.point IS DISTINCT FROM fresh.point
      ORDER BY fresh.epoch, fresh.operator_id
      ON CONFLICT (epoch, operator_id) DO UPDATE SET point = excluded.point;
  ELSE
    INSERT INTO operator_points
      SELECT * FROM operator_points_of(first_epoch, last_epoch)
      ON CONFLICT (epoch, operator_id) DO UPDATE SET point = excluded.point;
  END IF;
  RETURN removed + written;
END
$$;

DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{epoch_analytics_of, operator_points_of, refresh_epoch_documents}'::text[]
  LOOP
    EXECUTE format('ALTER FUNCTION %I(BIGINT, BIGINT) SET search_path = %I, pg_temp',
                   name, current_schema());
  END LOOP;
END
$$;
