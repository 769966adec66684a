-- What row-level security, REST interfaces and advisers ask for: functions with a search_path of
-- their own, views with text for readers that know no exact numbers, and whom something is published to.
-- Rights, policies and security_invoker are no part of any migration: they follow each of them.
-- depends: 09_create_source_head

CREATE TABLE published_to (
  role TEXT PRIMARY KEY,
  since TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE published_to IS
  'Roles that may read the published tables; `operator-prices publish` writes it.';

ALTER TABLE chain_identity ADD PRIMARY KEY (genesis_hash);
ALTER TABLE data_version ADD PRIMARY KEY (lineage);
ALTER TABLE source_head ADD COLUMN is_one BOOLEAN DEFAULT true PRIMARY KEY;

-- Our tables whose rows row-level security hides from whoever asks, NULL for none: a table that is
-- hidden reads like an empty one.
CREATE FUNCTION hidden_tables() RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
    SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relname = ANY ('{
        epochs, operator_share_prices, operator_shares, operators_metadata, epoch_analytics,
        epoch_documents, operator_points, data_version, quarantine, skipped_epochs, chain_identity,
        legacy_prices, legacy_hashes, source_head}'::text[])
      AND relrowsecurity AND row_security_active(pg_class.oid)
      AND (EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid AND NOT polpermissive)
        OR NOT EXISTS (
          SELECT FROM pg_policy
          WHERE polrelid = pg_class.oid AND polpermissive AND polcmd IN ('r', '*')
            AND EXISTS (SELECT FROM unnest(polroles) AS role
                        WHERE role = 0 OR pg_has_role(role, 'USAGE'))
            AND pg_get_expr(polqual, polrelid) = 'true')));
END
$$;

-- Another text whenever what hidden_tables says may have changed, at a tenth of its cost.
CREATE FUNCTION row_security_state() RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT concat(count(*), '-', sum(xmin::text::bigint)) FROM pg_policy) || '-'
    || (SELECT concat(count(*), '-', sum(xmin::text::bigint)) FROM pg_auth_members) || '-'
    || (SELECT sum(pg_class.xmin::text::bigint)
        FROM unnest('{
          epochs, operator_share_prices, operator_shares, operators_metadata, epoch_analytics,
          epoch_documents, operator_points, data_version, quarantine, skipped_epochs, chain_identity,
          legacy_prices, legacy_hashes, source_head}'::name[]) AS name
        JOIN pg_class ON relname = name AND relnamespace = current_schema()::regnamespace);
END
$$;

INSERT INTO before_migration (kind, name, definition)
  SELECT 'definition', function::text, pg_get_functiondef(function)
  FROM unnest(ARRAY[
    'hex_to_numeric(text)', 'number_or_null(text)', 'parse_comma_number(text)',
    'stake_per_share(numeric, numeric, numeric, smallint)',
    'epoch_analytics_of(bigint, bigint)', 'refresh_epoch_analytics_rows(bigint, bigint)',
    'refresh_epoch_analytics(bigint, bigint)', 'published_object(jsonb, text[])',
    'epoch_document(epoch_analytics, text[])', 'operator_points_of(bigint, bigint)',
    'refresh_epoch_documents(bigint, bigint)', 'announce_epoch()']::regprocedure[]) AS function;

-- A function with settings of its own is never inlined, and of those PL/pgSQL calls are the cheapest.
CREATE OR REPLACE FUNCTION stake_per_share(
  shares NUMERIC, stake NUMERIC, reward NUMERIC, tax SMALLINT)
RETURNS NUMERIC LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN CASE WHEN shares > 0 THEN
    div((stake + reward - div(reward * tax, 100)) * 1000000000000000000, shares) END;
END
$$;

-- Those that return rows are planned for the epochs that are asked for, as inlining did.
DO $$
DECLARE
  path CONSTANT TEXT := format('SET search_path = %I, pg_temp', current_schema());
  one RECORD;
BEGIN
  FOR one IN
    SELECT pg_proc.oid::regprocedure AS function, proretset, prosrc, proname,
           pg_get_function_arguments(pg_proc.oid) AS arguments,
           pg_get_function_result(pg_proc.oid) AS result
    FROM before_migration JOIN pg_proc ON pg_proc.oid = name::regprocedure
    WHERE kind = 'definition'
  LOOP
    IF one.proretset THEN
      EXECUTE format(
        'CREATE OR REPLACE FUNCTION %I(%s) RETURNS %s LANGUAGE plpgsql STABLE'
        ' SET plan_cache_mode = force_custom_plan AS %L',
        one.proname, one.arguments, one.result,
        'BEGIN RETURN QUERY' || rtrim(one.prosrc, E'; \n') || E';\nEND');
    END IF;
    EXECUTE format('ALTER FUNCTION %s %s', one.function, path);
  END LOOP;
  EXECUTE format('ALTER FUNCTION hidden_tables() %s', path);
  EXECUTE format('ALTER FUNCTION row_security_state() %s', path);
END
$$;

-- ---- the same rows with exact numbers as text, for readers whose numbers are floating-point

CREATE VIEW operator_share_prices_text AS
SELECT
  epoch, operator_id, share_price_perq::text AS share_price_perq, source, inserted_at
FROM operator_share_prices;
COMMENT ON VIEW operator_share_prices_text IS
  'operator_share_prices with its exact numbers as text.';

CREATE VIEW operator_shares_text AS
SELECT
  epoch, operator_id, shares_raw::text AS shares_raw, stake_raw::text AS stake_raw,
  active_stake_raw::text AS active_stake_raw, reward_raw::text AS reward_raw,
  storage_fee_deposit_raw::text AS storage_fee_deposit_raw, nomination_tax, status,
  shares_after_raw::text AS shares_after_raw, stake_after_raw::text AS stake_after_raw, source,
  inserted_at
FROM operator_shares;
COMMENT ON VIEW operator_shares_text IS
  'operator_shares with its exact numbers as text.';

CREATE VIEW comprehensive_analytics_text AS
SELECT
  epoch, end_block, "timestamp", epoch_datetime, epoch_date,
  total_stake_raw::text AS total_stake_raw, total_stake_tokens::text AS total_stake_tokens,
  total_shares_raw::text AS total_shares_raw, total_shares_tokens::text AS total_shares_tokens,
  network_share_price_ratio::text AS network_share_price_ratio,
  treasury_funds_raw::text AS treasury_funds_raw,
  treasury_funds_tokens::text AS treasury_funds_tokens,
  chain_rewards_raw::text AS chain_rewards_raw,
  chain_rewards_tokens::text AS chain_rewards_tokens,
  storage_fee_fund_raw::text AS storage_fee_fund_raw,
  storage_fee_fund_tokens::text AS storage_fee_fund_tokens,
  storage_fee_percentage::text AS storage_fee_percentage,
  operator_0_stake_tokens::text AS operator_0_stake_tokens,
  operator_1_stake_tokens::text AS operator_1_stake_tokens,
  operator_2_stake_tokens::text AS operator_2_stake_tokens,
  operator_3_stake_tokens::text AS operator_3_stake_tokens,
  operator_0_rewards_tokens::text AS operator_0_rewards_tokens,
  operator_1_rewards_tokens::text AS operator_1_rewards_tokens,
  operator_2_rewards_tokens::text AS operator_2_rewards_tokens,
  operator_3_rewards_tokens::text AS operator_3_rewards_tokens,
  operator_0_shares_raw::text AS operator_0_shares_raw,
  operator_1_shares_raw::text AS operator_1_shares_raw,
  operator_2_shares_raw::text AS operator_2_shares_raw,
  operator_3_shares_raw::text AS operator_3_shares_raw,
  operator_0_share_price_tokens::text AS operator_0_share_price_tokens,
  operator_1_share_price_tokens::text AS operator_1_share_price_tokens,
  operator_2_share_price_tokens::text AS operator_2_share_price_tokens,
  operator_3_share_price_tokens::text AS operator_3_share_price_tokens, operator_count,
  deposits_count::text AS deposits_count, withdrawals_count::text AS withdrawals_count,
  bundles_count::text AS bundles_count, operator_share_prices_json, operator_stakes_json,
  operator_rewards_json, operator_shares_json, operator_stake_per_share_json,
  operator_total_stakes_json, operator_price_sources_json, operator_statuses_json, domain_id
FROM comprehensive_analytics;
COMMENT ON VIEW comprehensive_analytics_text IS
  'comprehensive_analytics with its exact numbers as text.';
