-- Queries, not a migration: is the stored data complete, and does it say what the raw JSON says?
--
-- The header of a query's first column is its name. One that begins with "no" must return no rows:
-- what it returns are offenders, 100 at most. The others show what there is. The raw JSON is read
-- here in SQL, independently of the code of the pipeline. Nothing is written but temporary objects:
--   psql "$DATABASE_URL" -f sql/05_verify_migration.sql

-- ------------------------------------------------------------------------------------------------
-- The raw JSON, read again. An entry is either {"key": ["5"], "value": {...}}, with true keys, or
-- {"key": ["<position>"], "value": "0x<storage key>,<value>"}, where the storage key tells the truth:
-- it begins with 64 digits for the map, those of Domains.Operators or of
-- Domains.OperatorEpochSharePrice. What is in quarantine is excused: the import keeps the rest.

CREATE OR REPLACE FUNCTION pg_temp.json_or_null(text_val TEXT) RETURNS JSONB
LANGUAGE plpgsql AS $$
BEGIN
  RETURN text_val::jsonb;
EXCEPTION
  WHEN invalid_text_representation OR untranslatable_character THEN
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION pg_temp.entries(section JSONB) RETURNS SETOF JSONB
LANGUAGE sql AS $$
  SELECT jsonb_array_elements(
    CASE jsonb_typeof(section -> 'entries') WHEN 'array' THEN section -> 'entries' ELSE '[]' END)
$$;

-- Eight hexadecimal digits, the lowest byte first.
CREATE OR REPLACE FUNCTION pg_temp.u32(hex TEXT) RETURNS NUMERIC
LANGUAGE sql AS $$
  SELECT ('x' || substr(hex, 7, 2) || substr(hex, 5, 2) || substr(hex, 3, 2) || substr(hex, 1, 2))
           ::bit(32)::bigint::numeric
$$;

-- What a map of the summary says of an operator: nothing is 0, and no map is unknown. Its keys have
-- commas as its amounts have.
CREATE OR REPLACE FUNCTION pg_temp.amount_of(amounts JSONB, operator NUMERIC) RETURNS NUMERIC
LANGUAGE sql AS $$
  SELECT CASE WHEN amounts IS NOT NULL THEN number_or_null(coalesce(
    amounts ->> operator::text, amounts ->> to_char(operator, 'FM9,999,999,999,999,999,999'), '0')) END
$$;

DROP TABLE IF EXISTS
  pg_temp.raw_epoch, pg_temp.raw_operator, pg_temp.raw_price, pg_temp.gone_price;

CREATE TEMPORARY TABLE raw_epoch AS
SELECT epoch, coalesce(source, 'legacy') AS source, coalesce(domain_id, 0) AS domain_id,
       number_or_null(summary ->> 'currentTotalStake') AS total_stake,
       CASE jsonb_typeof(summary -> 'currentOperators')
         WHEN 'object' THEN summary -> 'currentOperators' END AS active_stakes,
       CASE jsonb_typeof(summary -> 'currentEpochRewards')
         WHEN 'object' THEN summary -> 'currentEpochRewards' END AS rewards,
       operators, prices,
       coalesce(source, 'legacy') = 'legacy' AND EXISTS (
         SELECT FROM quarantine WHERE quarantine.source = 'legacy' AND item = 'epochs'
           AND quarantine.epoch = epochs.epoch) AS broken
FROM epochs
CROSS JOIN LATERAL jsonb_to_record(
  CASE WHEN jsonb_typeof(data) = 'object'
         AND (NOT data ? 'epoch' OR number_or_null(data ->> 'epoch') = epoch)
       THEN data ELSE '{}' END
) AS document ("domainStakingSummary" JSONB, operators JSONB, "operatorEpochSharePrice" JSONB)
CROSS JOIN LATERAL (
  SELECT "domainStakingSummary", "operatorEpochSharePrice"
) AS named (summary, prices);

-- fit: what the import keeps; the rest belongs in quarantine.
CREATE TEMPORARY TABLE raw_operator AS
SELECT *, coalesce(operator_id <= 2147483647, false) AND coalesce(shares <= stake, false)
  AND coalesce(body_domain, own_domain) = own_domain AND NOT broken AND NOT EXISTS (
    SELECT FROM quarantine
    WHERE quarantine.source = operator.source AND item = 'Operators'
      AND quarantine.epoch = operator.epoch AND quarantine.operator_id = operator.operator_id
  ) AS fit
FROM (
  SELECT epoch, source, operator_id, broken, domain_id AS own_domain,
         number_or_null(body ->> 'currentDomainId') AS body_domain,
         number_or_null(body ->> 'currentTotalShares') AS shares,
         number_or_null(body ->> 'currentTotalStake') AS stake,
         number_or_null(body ->> 'totalStorageFeeDeposit') AS storage_fee_deposit,
         number_or_null(body ->> 'nominationTax') AS tax,
         CASE jsonb_typeof(body -> 'partialStatus')
           WHEN 'string' THEN body ->> 'partialStatus'
           WHEN 'object' THEN (
             SELECT min(name) FROM jsonb_object_keys(body -> 'partialStatus') AS name)
         END AS status,
         pg_temp.amount_of(active_stakes, operator_id) AS active_stake,
         pg_temp.amount_of(rewards, operator_id) AS reward
  FROM raw_epoch
  CROSS JOIN LATERAL pg_temp.entries(operators) AS entry
  CROSS JOIN LATERAL (
    SELECT entry ->> 'value' AS value, jsonb_typeof(entry -> 'value') AS type
  ) AS told
  CROSS JOIN LATERAL (
    SELECT CASE
             WHEN type = 'object' THEN number_or_null(entry -> 'key' ->> 0)
             WHEN value ~* '^0x0b41d0c7f7b4485bd7be1d66066b00ad34a0a3fbf14e6c92456ca7bd91d59a57[0-9a-f]{16},'
             THEN pg_temp.u32(substr(value, 67, 8)) + pg_temp.u32(substr(value, 75, 8)) * 4294967296
           END AS operator_id,
           CASE
             WHEN type = 'object' THEN entry -> 'value'
             WHEN value ~* '^0x0b41d0c7f7b4485bd7be1d66066b00ad34a0a3fbf14e6c92456ca7bd91d59a57[0-9a-f]{16},'
             THEN pg_temp.json_or_null(substr(value, 84))
           END AS body
  ) AS read
) AS operator;

-- One row per priced epoch and operator. A legacy snapshot repeats the whole history; the last one
-- that speaks of a price has the word.
CREATE TEMPORARY TABLE raw_price AS
SELECT DISTINCT ON (epoch, operator_id)
       epoch, operator_id, price, told_in, source, coalesce(price BETWEEN 1 AND 1e18, false) AS fit
FROM (
  SELECT raw_epoch.epoch AS told_in, position, source, raw_epoch.domain_id AS own_domain, read.*
  FROM raw_epoch
  CROSS JOIN LATERAL pg_temp.entries(prices) WITH ORDINALITY AS listed (entry, position)
  CROSS JOIN LATERAL (
    SELECT entry ->> 'value' AS value,
           entry ->> 'value' ~* '^0x0b41d0c7f7b4485bd7be1d66066b00adf16a4d4929cfe61f4f6bf4153bb44d9d[0-9a-f]{32},'
             AS by_storage_key,
           regexp_match(entry -> 'key' ->> 1, '^\["?([0-9]+)"?, ?"?([0-9,]+)"?\]$') AS true_key
  ) AS told
  CROSS JOIN LATERAL (
    SELECT CASE WHEN by_storage_key THEN pg_temp.u32(substr(value, 83, 8))
                ELSE number_or_null(true_key[1]) END AS domain_id,
           CASE WHEN by_storage_key THEN pg_temp.u32(substr(value, 91, 8))
                ELSE number_or_null(true_key[2]) END AS epoch,
           CASE WHEN by_storage_key
                THEN pg_temp.u32(substr(value, 67, 8))
                     + pg_temp.u32(substr(value, 75, 8)) * 4294967296
                WHEN true_key IS NOT NULL
                THEN number_or_null(entry -> 'key' ->> 0) END AS operator_id,
           number_or_null(CASE WHEN by_storage_key THEN substr(value, 100) ELSE value END) AS price
  ) AS read
) AS priced
WHERE domain_id = own_domain AND operator_id <= 2147483647 AND epoch <= told_in
ORDER BY epoch, operator_id, told_in DESC, position DESC;

-- What snapshots told that are no rows any more: a node's rows stand in their place, or those of a
-- fuller source in that of the first generation, which alone tells an epoch's own price; or they
-- could not be kept as a whole.
CREATE TEMPORARY TABLE gone_price AS
SELECT told.epoch, operator_id, share_price_perq AS price, told_in
FROM legacy_prices AS told
WHERE share_price_perq IS NOT NULL AND (told_in = told.epoch OR NOT EXISTS (
  SELECT FROM epochs WHERE epochs.epoch = told_in AND source IS DISTINCT FROM 'chain'));

ANALYZE raw_epoch, raw_operator, raw_price, gone_price;

-- ------------------------------------------------------------------------------------------------
-- How much there is.

SELECT * FROM (
  SELECT 'epochs' AS "rows of", count(*) AS rows, min(epoch) AS first_epoch, max(epoch) AS last_epoch
    FROM epochs
  UNION ALL SELECT 'operator_share_prices', count(*), min(epoch), max(epoch)
    FROM operator_share_prices
  UNION ALL SELECT 'operator_shares', count(*), min(epoch), max(epoch) FROM operator_shares
  UNION ALL SELECT 'operators_metadata', count(*), min(first_seen_epoch), max(last_seen_epoch)
    FROM operators_metadata
  UNION ALL SELECT 'comprehensive_analytics', count(*), min(epoch), max(epoch)
    FROM comprehensive_analytics
  UNION ALL SELECT 'quarantine', count(*), min(epoch), max(epoch) FROM quarantine
  UNION ALL SELECT 'skipped_epochs', count(*), min(epoch), max(epoch) FROM skipped_epochs
) AS counted;

-- Where it is from; no source is a row of the old system that the pipeline never touched.
SELECT * FROM (
  SELECT 'epochs' AS "sources of", source, count(*) AS rows FROM epochs GROUP BY source
  UNION ALL SELECT 'operator_share_prices', source, count(*)
    FROM operator_share_prices GROUP BY source
  UNION ALL SELECT 'operator_shares', source, count(*) FROM operator_shares GROUP BY source
) AS counted ORDER BY 1, source;

-- What could not be understood: named, kept as it was found, and in none of the other tables.
SELECT source AS "in quarantine", item, reason, count(*) AS rows,
       min(epoch) AS first_epoch, max(epoch) AS last_epoch
FROM quarantine GROUP BY source, item, reason ORDER BY rows DESC LIMIT 100;

-- Prices whose own epoch has no raw row, as where an old file has gaps: kept all the same.
SELECT source AS "prices beside the raw epochs", count(*) AS rows,
       min(epoch) AS first_epoch, max(epoch) AS last_epoch
FROM operator_share_prices WHERE NOT EXISTS (
  SELECT FROM epochs WHERE epochs.epoch = operator_share_prices.epoch)
GROUP BY source;

-- Imported epochs that did not end where their snapshot says, by the chain itself; read_again ones
-- are the node's by now.
SELECT told.epoch AS "imported epochs that ended elsewhere", told.end_block, told.end_hash,
       told.chain_hash, source IS NOT DISTINCT FROM 'chain' AS read_again
FROM legacy_hashes AS told LEFT JOIN epochs USING (epoch)
WHERE compared_at IS NOT NULL AND lower(chain_hash) IS DISTINCT FROM lower(told.end_hash)
ORDER BY told.epoch LIMIT 100;

-- ------------------------------------------------------------------------------------------------
-- Is it complete?

-- Epochs from 0 on that are neither stored nor skipped for a known reason.
SELECT previous + 1 AS "no gap", epoch - 1 AS last_missing
FROM (
  SELECT epoch, lag(epoch, 1, -1::bigint) OVER (ORDER BY epoch) AS previous
  FROM (SELECT epoch FROM epochs WHERE epoch BETWEEN 0 AND 2147483647
        UNION SELECT epoch FROM skipped_epochs) AS known
) AS pair
WHERE previous + 1 < epoch ORDER BY epoch LIMIT 100;

-- Epochs of which something is known to be missing.
SELECT epoch AS "no incomplete epoch", source, end_block
FROM raw_epochs WHERE NOT complete ORDER BY epoch LIMIT 100;

-- Operators that have rows but are not in the list of operators.
SELECT operator_id AS "no operator without metadata", count(*) AS rows
FROM (SELECT operator_id FROM operator_shares UNION ALL
      SELECT operator_id FROM operator_share_prices) AS seen
WHERE NOT EXISTS (
  SELECT FROM operators_metadata WHERE operators_metadata.operator_id = seen.operator_id)
GROUP BY operator_id ORDER BY operator_id LIMIT 100;

-- ------------------------------------------------------------------------------------------------
-- Do the tables say what the raw JSON says?

-- Operators of the raw JSON that are missing or different in operator_shares.
SELECT raw.epoch AS "no operator differs from the raw JSON", raw.operator_id,
       concat_ws(', ',
         CASE WHEN kept.epoch IS NULL THEN 'missing' END,
         CASE WHEN kept.shares_raw <> raw.shares THEN 'shares_raw' END,
         CASE WHEN kept.stake_raw IS DISTINCT FROM raw.stake THEN 'stake_raw' END,
         CASE WHEN kept.active_stake_raw IS DISTINCT FROM raw.active_stake
              THEN 'active_stake_raw' END,
         CASE WHEN kept.reward_raw IS DISTINCT FROM raw.reward THEN 'reward_raw' END,
         CASE WHEN kept.storage_fee_deposit_raw IS DISTINCT FROM raw.storage_fee_deposit
              THEN 'storage_fee_deposit_raw' END,
         CASE WHEN kept.nomination_tax IS DISTINCT FROM raw.tax THEN 'nomination_tax' END,
         CASE WHEN lower(kept.status) IS DISTINCT FROM lower(raw.status) THEN 'status' END
       ) AS difference
FROM raw_operator AS raw
LEFT JOIN operator_shares AS kept ON kept.epoch = raw.epoch AND kept.operator_id = raw.operator_id
WHERE raw.fit AND (kept.source IS NULL OR kept.source = raw.source)
  AND (kept.shares_raw, kept.stake_raw, kept.active_stake_raw, kept.reward_raw,
       kept.storage_fee_deposit_raw, kept.nomination_tax, lower(kept.status))
      IS DISTINCT FROM
      (raw.shares, raw.stake, raw.active_stake, raw.reward,
       raw.storage_fee_deposit, raw.tax, lower(raw.status))
ORDER BY raw.epoch, raw.operator_id LIMIT 100;

-- Operators in the table that the raw JSON of their epoch does not know.
SELECT kept.epoch AS "no operator that the raw JSON lacks", kept.operator_id, kept.source
FROM operator_shares AS kept JOIN raw_epoch ON raw_epoch.epoch = kept.epoch
WHERE kept.source IS NOT DISTINCT FROM raw_epoch.source AND NOT EXISTS (
  SELECT FROM raw_operator AS raw
  WHERE raw.epoch = kept.epoch AND raw.operator_id = kept.operator_id)
ORDER BY kept.epoch, kept.operator_id LIMIT 100;

-- Prices of the raw JSON that are missing or different in operator_share_prices. A price read from
-- the chain stands over one of a snapshot, and a snapshot of another block has no say at all.
SELECT raw.epoch AS "no price differs from the raw JSON", raw.operator_id,
       raw.price AS raw_price, raw.told_in AS snapshot, kept.share_price_perq, kept.source
FROM raw_price AS raw
LEFT JOIN operator_share_prices AS kept
  ON kept.epoch = raw.epoch AND kept.operator_id = raw.operator_id
WHERE raw.fit AND kept.share_price_perq IS DISTINCT FROM raw.price
  AND NOT (kept.source IS NOT DISTINCT FROM 'chain' AND raw.source <> 'chain')
  AND NOT EXISTS (
    SELECT FROM gone_price AS gone
    WHERE gone.epoch = raw.epoch AND gone.operator_id = raw.operator_id
      AND gone.told_in > raw.told_in AND gone.price = kept.share_price_perq)
  AND (raw.source = 'chain' OR NOT EXISTS (
    SELECT FROM legacy_hashes AS told JOIN epochs USING (epoch)
    WHERE epoch = raw.epoch AND source = 'chain' AND (told.end_block, lower(told.end_hash))
      IS DISTINCT FROM (epochs.end_block, lower(epochs.end_hash))))
ORDER BY raw.epoch, raw.operator_id LIMIT 100;

-- Prices in the table said to be of a snapshot, or of the chain, that no raw JSON knows.
SELECT kept.epoch AS "no price that the raw JSON lacks", kept.operator_id,
       kept.share_price_perq, kept.source
FROM operator_share_prices AS kept JOIN raw_epoch ON raw_epoch.epoch = kept.epoch
WHERE (kept.source, raw_epoch.source) IN (('epochs_json', 'legacy'), ('chain', 'chain'))
  AND NOT EXISTS (
    SELECT FROM raw_price AS raw
    WHERE raw.epoch = kept.epoch AND raw.operator_id = kept.operator_id)
  AND NOT EXISTS (
    SELECT FROM gone_price AS gone
    WHERE gone.epoch = kept.epoch AND gone.operator_id = kept.operator_id
      AND gone.price = kept.share_price_perq AND kept.source = 'epochs_json')
ORDER BY kept.epoch, kept.operator_id LIMIT 100;

-- Derived prices that are not what the state of their epoch implies.
SELECT epoch AS "no derived price differs from its state", operator_id, share_price_perq, implied
FROM (
  SELECT price.epoch, price.operator_id, share_price_perq,
         div(shares_raw * 1000000000000000000,
             nullif(stake_raw + reward_raw - div(reward_raw * nomination_tax, 100), 0)) AS implied
  FROM operator_share_prices AS price JOIN operator_shares USING (epoch, operator_id)
  WHERE price.source = 'derived'
) AS derived
WHERE share_price_perq IS DISTINCT FROM implied ORDER BY epoch, operator_id LIMIT 100;

-- Totals of the published view against the raw JSON.
SELECT raw.epoch AS "no total differs from the raw JSON", total_stake_raw, raw.total_stake,
       total_shares_raw, summed.shares, operator_count, summed.operators
FROM raw_epoch AS raw
LEFT JOIN (
  SELECT epoch, sum(shares) AS shares, count(*) AS operators
  FROM raw_operator WHERE fit GROUP BY epoch
) AS summed ON summed.epoch = raw.epoch
LEFT JOIN comprehensive_analytics AS view ON view.epoch = raw.epoch
WHERE NOT raw.broken
  AND (view.epoch IS NULL OR total_stake_raw IS DISTINCT FROM total_stake
    OR total_shares_raw <> coalesce(summed.shares, 0)
    OR operator_count <> coalesce(summed.operators, 0))
ORDER BY raw.epoch LIMIT 100;

-- Epochs whose analytics row is not what their tables say: refresh_epoch_analytics mends it.
SELECT coalesce(fresh.epoch, stored.epoch) AS "no stale analytics"
FROM (SELECT min(epoch) AS first_epoch, max(epoch) AS last_epoch FROM epochs
      WHERE epoch BETWEEN 0 AND 2147483647) AS span
CROSS JOIN LATERAL epoch_analytics_of(first_epoch, last_epoch) AS fresh
FULL JOIN epoch_analytics AS stored ON stored.epoch = fresh.epoch
WHERE stored IS DISTINCT FROM fresh ORDER BY 1 LIMIT 100;

-- ------------------------------------------------------------------------------------------------
-- Can it be true?

SELECT fault AS "no value out of range", epoch, operator_id FROM (
  SELECT 'price is not in 1 .. 10^18' AS fault, epoch, operator_id FROM operator_share_prices
    WHERE NOT share_price_perq BETWEEN 1 AND 1e18
  UNION ALL SELECT 'price of an unknown source', epoch, operator_id FROM operator_share_prices
    WHERE source NOT IN ('chain', 'epochs_json', 'derived')
  UNION ALL SELECT 'shares above stake', epoch, operator_id FROM operator_shares
    WHERE shares_raw > stake_raw
  UNION ALL SELECT 'negative amount', epoch, operator_id FROM operator_shares
    WHERE least(shares_raw, stake_raw, active_stake_raw, reward_raw, storage_fee_deposit_raw,
                shares_after_raw, stake_after_raw) < 0
  UNION ALL SELECT 'amount above 128 bits', epoch, operator_id FROM operator_shares
    WHERE greatest(shares_raw, stake_raw, active_stake_raw, reward_raw, storage_fee_deposit_raw,
                   shares_after_raw, stake_after_raw) > 340282366920938463463374607431768211455
  UNION ALL SELECT 'tax is not in 0 .. 100', epoch, operator_id FROM operator_shares
    WHERE NOT nomination_tax BETWEEN 0 AND 100
  UNION ALL SELECT 'unknown status', epoch, operator_id FROM operator_shares
    WHERE status NOT IN ('Registered', 'Deregistered', 'Slashed', 'PendingSlash', 'InvalidBundle',
                         'Deactivated')
  UNION ALL SELECT 'end hash is no hash', epoch, NULL FROM epochs
    WHERE end_hash !~ '^0x[0-9A-Fa-f]{64}$'
      AND epoch NOT IN (SELECT epoch FROM raw_epoch WHERE broken)
  UNION ALL SELECT 'transition block does not follow the end block', epoch, NULL FROM epochs
    WHERE transition_block <> end_block + 1
  UNION ALL SELECT 'end block is not above that of the epoch before', epoch, NULL
    FROM (SELECT epoch, end_block, lag(end_block) OVER (ORDER BY epoch) AS previous
          FROM epochs WHERE epoch NOT IN (SELECT epoch FROM raw_epoch WHERE broken)) AS pair
    WHERE end_block <= previous
  UNION ALL SELECT 'chain time does not advance', epoch, NULL
    FROM (SELECT epoch, timestamp AS at, lag(timestamp) OVER (ORDER BY epoch) AS previous
          FROM epochs WHERE source = 'chain') AS pair
    WHERE at <= previous
) AS offender ORDER BY fault, epoch, operator_id LIMIT 100;

-- ------------------------------------------------------------------------------------------------
-- The old view against the new one, column by column, where both have data: of epochs whose row is
-- as the old system left it, since the old view reads no other form. A difference that is known has
-- its reason beside it.

DROP TABLE IF EXISTS pg_temp.old_against_new;
CREATE TEMPORARY TABLE old_against_new (epoch BIGINT, name TEXT, old JSONB, new JSONB, reason TEXT);

DO $$
BEGIN
  IF EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('comprehensive_analytics_old') AND attname = 'epoch') THEN
    EXECUTE $compare$
      INSERT INTO old_against_new
      SELECT epoch, name, old, new, CASE
        WHEN old = new THEN NULL
        WHEN new = 'null' THEN 'unknown is NULL now; the old view put 0 or 1 in its place'
        WHEN name IN ('total_shares_raw', 'total_shares_tokens') AND old_number = 0
          THEN 'the old view always said 0'
        WHEN name = 'network_share_price_ratio' AND old_number = 1
          THEN 'the old view always said 1'
        WHEN name LIKE 'storage\_fee\_%' AND old_number = 0
          THEN 'the old view took the total that was never filled'
        WHEN name LIKE 'operator\__\_share\_price\_tokens'
             AND abs(old_number * 1e18 - new_number) <= greatest(abs(new_number) * 1e-12, 1)
          THEN 'the old view was off by a factor 10^-18'
        WHEN (name LIKE '%\_tokens' OR name = 'storage_fee_percentage')
             AND abs(old_number - new_number) <= abs(new_number) * 1e-14
          THEN 'the old view divided, and NUMERIC division rounds'
      END
      FROM (SELECT epoch, to_jsonb(old_row) AS old_row
            FROM comprehensive_analytics_old AS old_row
            WHERE epoch IN (SELECT epoch FROM epochs WHERE source IS NULL)) AS one
      JOIN (SELECT epoch, to_jsonb(new_row) AS new_row
            FROM comprehensive_analytics AS new_row) AS two USING (epoch)
      CROSS JOIN LATERAL jsonb_each(old_row) AS told (name, old)
      CROSS JOIN LATERAL (SELECT new_row -> name AS new) AS tells
      CROSS JOIN LATERAL (
        SELECT CASE jsonb_typeof(old) WHEN 'number' THEN old::numeric END AS old_number,
               CASE jsonb_typeof(new) WHEN 'number' THEN new::numeric END AS new_number) AS numbers
      WHERE new_row ? name
    $compare$;
  END IF;
END
$$;

SELECT name AS "old view against new view", count(*) AS epochs,
       count(*) FILTER (WHERE old = new) AS same, count(*) FILTER (WHERE old <> new) AS different,
       string_agg(DISTINCT reason, '; ') AS reason
FROM old_against_new GROUP BY name ORDER BY different DESC, name;

SELECT name AS "no difference to the old view without a reason", epoch, old, new
FROM old_against_new
WHERE old <> new AND reason IS NULL
ORDER BY name, epoch LIMIT 100;

DROP TABLE pg_temp.raw_epoch, pg_temp.raw_operator, pg_temp.raw_price, pg_temp.gone_price,
  pg_temp.old_against_new;
