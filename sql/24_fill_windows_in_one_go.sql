-- A window that is filled costs less again: the JSON of all operators is put together at once instead
-- of pair by pair, a document by functions that are not planned at each call, and where nothing is
-- stored nothing is looked for. Points are in their index by operator no more, only found by it: that
-- took more than half of their room, and time, and was read no faster. What the tables say stays the
-- same, and so do rows that are there.
-- depends: 23_fill_windows_faster

INSERT INTO before_migration (kind, name, definition)
  SELECT 'definition before 24', function::text, pg_get_functiondef(function)
  FROM unnest(ARRAY[
    'published_object(jsonb, text[])', 'epoch_document(epoch_analytics, text[])',
    'epoch_analytics_of(bigint, bigint)', 'refresh_epoch_documents(bigint, bigint)'
  ]::regprocedure[]) AS function;

-- The keys of an object that are wanted, all of them for NULL, without blanks.
CREATE OR REPLACE FUNCTION published_object(object JSONB, wanted TEXT[]) RETURNS TEXT
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF wanted IS NOT NULL THEN
    object := (SELECT coalesce(jsonb_object_agg(id, object -> id), '{}')
               FROM unnest(wanted) AS id WHERE object ? id);
  END IF;
  RETURN replace(replace(object::text, '": "', '":"'), '", "', '","');
END
$$;

-- An epoch in the shape of the old API; with `wanted`, only these operators in its objects.
-- The keys 0 to 3 always existed there: an unknown price is 10^18, and named as defaulted.
CREATE OR REPLACE FUNCTION epoch_document(fact epoch_analytics, wanted TEXT[]) RETURNS TEXT
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  rewards CONSTANT JSONB := coalesce(fact.operator_rewards_json, '{}');
  prices CONSTANT JSONB := coalesce(fact.operator_share_prices_json, '{}');
BEGIN
  RETURN concat(
  '{"domainId":', coalesce(fact.domain_id, 0),
  ',"epoch":', fact.epoch,
  ',"endBlock":', fact.end_block,
  ',"timestamp":', coalesce(fact.timestamp::text, 'null'),
  ',"totalStake":', coalesce('"' || fact.total_stake_raw || '"', 'null'),
  ',"storageFees":', coalesce('"' || fact.storage_fee_fund_raw || '"', 'null'),
  ',"operatorStakes":', published_object(coalesce(fact.operator_stakes_json, '{}'), wanted),
  ',"rewards":', published_object('{"0": "0", "1": "0", "2": "0", "3": "0"}' || rewards, wanted),
  ',"operatorSharePrices":', published_object(
    '{"0": "1000000000000000000", "1": "1000000000000000000",
      "2": "1000000000000000000", "3": "1000000000000000000"}' || prices, wanted),
  ',"operators":', coalesce(fact.operator_count::text, 'null'),
  ',"meta":{"rewardsHasAny":',
  CASE WHEN rewards @? '$.* ? (@ != "0")' THEN 'true' ELSE 'false' END,
  ',"sharePricesHasAny":', CASE WHEN prices <> '{}' THEN 'true' ELSE 'false' END,
  ',"sampleApplied":false,"sharePricesDefaulted":[',
  concat_ws(',',
    CASE WHEN NOT prices ? '0' AND (wanted IS NULL OR '0' = ANY (wanted)) THEN '"0"' END,
    CASE WHEN NOT prices ? '1' AND (wanted IS NULL OR '1' = ANY (wanted)) THEN '"1"' END,
    CASE WHEN NOT prices ? '2' AND (wanted IS NULL OR '2' = ANY (wanted)) THEN '"2"' END,
    CASE WHEN NOT prices ? '3' AND (wanted IS NULL OR '3' = ANY (wanted)) THEN '"3"' END),
  ']}}');
END
$$;

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
  SELECT *, operator_id::text AS key,
         CASE WHEN shares_raw > 0 THEN  -- as stake_per_share, without a call for each row
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
         jsonb_object(  -- half of what jsonb_object_agg costs
           array_agg(key) FILTER (WHERE active_stake_raw IS NOT NULL),
           array_agg(active_stake_raw::text) FILTER (WHERE active_stake_raw IS NOT NULL)
         ) AS stakes_json,
         jsonb_object(
           array_agg(key) FILTER (WHERE reward_raw IS NOT NULL),
           array_agg(reward_raw::text) FILTER (WHERE reward_raw IS NOT NULL)
         ) AS rewards_json,
         jsonb_object(
           array_agg(key) FILTER (WHERE shares_raw IS NOT NULL),
           array_agg(shares_raw::text) FILTER (WHERE shares_raw IS NOT NULL)
         ) AS shares_json,
         jsonb_object(
           array_agg(key) FILTER (WHERE stake_per_share IS NOT NULL),
           array_agg(stake_per_share::text) FILTER (WHERE stake_per_share IS NOT NULL)
         ) AS per_share_json,
         jsonb_object(
           array_agg(key) FILTER (WHERE stake_raw IS NOT NULL),
           array_agg(stake_raw::text) FILTER (WHERE stake_raw IS NOT NULL)
         ) AS total_stakes_json,
         jsonb_object(
           array_agg(key) FILTER (WHERE status IS NOT NULL),
           array_agg(status) FILTER (WHERE status IS NOT NULL)
         ) AS statuses_json
  FROM operator GROUP BY epoch
), departed AS (  -- rewarded, but gone before the epoch was over
  SELECT epoch, jsonb_object_agg(id, number_or_null(amount)::text) AS rewards_json
  FROM (
    SELECT fact.epoch, id, amount
    FROM fact CROSS JOIN LATERAL jsonb_each_text(rewards) AS told (id, amount)
    LEFT JOIN operator ON operator.epoch = fact.epoch AND operator.key = id
    WHERE operator.epoch IS NULL
    OFFSET 0  -- what those say who are still there is not read as a number
  ) AS gone
  WHERE number_or_null(amount) IS NOT NULL
  GROUP BY epoch
), priced AS (
  SELECT epoch,
         jsonb_object(array_agg(operator_id::text), array_agg(share_price_perq::text))
           AS prices_json,
         jsonb_object(array_agg(operator_id::text), array_agg(source)) AS sources_json
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
       (stakes_json ->> '0')::numeric, (stakes_json ->> '1')::numeric,
       (stakes_json ->> '2')::numeric, (stakes_json ->> '3')::numeric,
       coalesce((counted.rewards_json ->> '0')::numeric, (gone.rewards_json ->> '0')::numeric,
                CASE WHEN NOT rewards ? '0' THEN 0 END),
       coalesce((counted.rewards_json ->> '1')::numeric, (gone.rewards_json ->> '1')::numeric,
                CASE WHEN NOT rewards ? '1' THEN 0 END),
       coalesce((counted.rewards_json ->> '2')::numeric, (gone.rewards_json ->> '2')::numeric,
                CASE WHEN NOT rewards ? '2' THEN 0 END),
       coalesce((counted.rewards_json ->> '3')::numeric, (gone.rewards_json ->> '3')::numeric,
                CASE WHEN NOT rewards ? '3' THEN 0 END),
       (shares_json ->> '0')::numeric, (shares_json ->> '1')::numeric,
       (shares_json ->> '2')::numeric, (shares_json ->> '3')::numeric,
       (per_share_json ->> '0')::numeric, (per_share_json ->> '1')::numeric,
       (per_share_json ->> '2')::numeric, (per_share_json ->> '3')::numeric,
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
               AND operator.key = misfit ->> 'operatorId')) AS every_operator
  OFFSET 0  -- asked once, not once per mention
) AS known;
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
    BEGIN
      INSERT INTO operator_points (epoch, operator_id, point)
        SELECT epoch, operator_id, point FROM operator_points_of(first_epoch, last_epoch);
    EXCEPTION WHEN unique_violation THEN  -- somebody else was at it, too
      INSERT INTO operator_points (epoch, operator_id, point)
        SELECT epoch, operator_id, point FROM operator_points_of(first_epoch, last_epoch)
        ON CONFLICT (epoch, operator_id) DO UPDATE SET point = excluded.point;
    END;
  END IF;
  RETURN removed + written;
END
$$;

DO $$
DECLARE
  known RECORD;
BEGIN
  FOR known IN SELECT name FROM before_migration WHERE kind = 'definition before 24' LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp',
                   known.name::regprocedure, current_schema());
  END LOOP;
END
$$;

-- Locked before all else that is done with it: a lock that grows meets those who wait for it.
LOCK TABLE operator_points;
DROP INDEX operator_points_by_operator;
CREATE INDEX operator_points_by_operator ON operator_points (operator_id, epoch);
