-- What the API serves from: one prepared JSON document per epoch, kept with its analytics row; a
-- version of all data, by which answers are cached; a notice of every new epoch; a role that reads.
-- depends: 04_create_chain_tables

-- ---- the version of the data

CREATE TABLE data_version (
  lineage UUID NOT NULL DEFAULT gen_random_uuid(),
  version BIGINT NOT NULL DEFAULT 1,
  changed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX data_version_is_one ON data_version ((true));
COMMENT ON TABLE data_version IS
  'One row: whatever is published is a function of it. The lineage tells databases apart.';
INSERT INTO data_version DEFAULT VALUES;

CREATE TABLE data_changes (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
COMMENT ON TABLE data_changes IS
  'Changes of a transaction that is not committed yet; empty for everyone else.';

-- The version is raised at the very end of a transaction that changed something: its row is locked
-- when nothing else is waited for, so writers queue there for an instant and cannot deadlock.
-- Old writers need no right of their own on our tables.
DO $create$
BEGIN
  EXECUTE format($function$
CREATE FUNCTION note_data_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    INSERT INTO %1$I.data_changes DEFAULT VALUES;
  ELSIF EXISTS (SELECT FROM changed) THEN
    INSERT INTO %1$I.data_changes DEFAULT VALUES;
  END IF;
  RETURN NULL;
END
$body$
$function$, current_schema());
  EXECUTE format($function$
CREATE FUNCTION raise_data_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$
BEGIN
  UPDATE %1$I.data_version SET version = version + 1, changed_at = now();
  DELETE FROM %1$I.data_changes WHERE id = NEW.id;
  RETURN NULL;
END
$body$
$function$, current_schema());
END
$create$;

CREATE CONSTRAINT TRIGGER raise_data_version AFTER INSERT ON data_changes
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_data_version();

-- ---- the documents

CREATE TABLE epoch_documents (
  epoch BIGINT,
  timestamp BIGINT NOT NULL,
  from_chain BOOLEAN NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (epoch) INCLUDE (timestamp)
) WITH (toast_tuple_target = 8160);
ALTER TABLE epoch_documents ALTER document SET STORAGE EXTERNAL;  -- unpacking costs more than reading
CREATE INDEX epoch_documents_by_chain_time ON epoch_documents (timestamp, epoch) WHERE from_chain;
COMMENT ON TABLE epoch_documents IS
  'Each epoch as /api/epochs publishes it, ready to be streamed; see refresh_epoch_documents.';
COMMENT ON COLUMN epoch_documents.from_chain IS
  'Whether the timestamp is the chain''s; that of a legacy snapshot is its wall clock.';

-- The keys of an object that are wanted, all of them for NULL, without blanks.
CREATE FUNCTION published_object(object JSONB, wanted TEXT[]) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT replace(replace(
  CASE WHEN wanted IS NULL THEN object
       ELSE (SELECT coalesce(jsonb_object_agg(id, object -> id), '{}')
             FROM unnest(wanted) AS id WHERE object ? id) END::text,
  '": "', '":"'), '", "', '","')
$$;

-- An epoch in the shape of the old API; with `wanted`, only these operators in its objects.
-- The keys 0 to 3 always existed there: an unknown price is 10^18, and named as defaulted.
CREATE FUNCTION epoch_document(fact epoch_analytics, wanted TEXT[]) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT concat(
  '{"domainId":', coalesce(fact.domain_id, 0),
  ',"epoch":', fact.epoch,
  ',"endBlock":', fact.end_block,
  ',"timestamp":', fact.timestamp,
  ',"totalStake":', coalesce('"' || fact.total_stake_raw || '"', 'null'),
  ',"storageFees":', coalesce('"' || fact.storage_fee_fund_raw || '"', 'null'),
  ',"operatorStakes":', published_object(coalesce(fact.operator_stakes_json, '{}'), wanted),
  ',"rewards":', published_object(
    '{"0": "0", "1": "0", "2": "0", "3": "0"}' || coalesce(fact.operator_rewards_json, '{}'),
    wanted),
  ',"operatorSharePrices":', published_object(
    '{"0": "1000000000000000000", "1": "1000000000000000000",
      "2": "1000000000000000000", "3": "1000000000000000000"}'
    || coalesce(fact.operator_share_prices_json, '{}'), wanted),
  ',"operators":', coalesce(fact.operator_count::text, 'null'),
  ',"meta":{"rewardsHasAny":',
  CASE WHEN coalesce(fact.operator_rewards_json, '{}') @? '$.* ? (@ != "0")'
       THEN 'true' ELSE 'false' END,
  ',"sharePricesHasAny":',
  CASE WHEN coalesce(fact.operator_share_prices_json, '{}') <> '{}' THEN 'true' ELSE 'false' END,
  ',"sampleApplied":false,"sharePricesDefaulted":[',
  (SELECT string_agg('"' || id || '"', ',' ORDER BY id) FROM unnest('{0,1,2,3}'::text[]) AS id
   WHERE NOT coalesce(fact.operator_share_prices_json, '{}') ? id
     AND (wanted IS NULL OR id = ANY (wanted))),
  ']}}')
$$;

-- A row of /api/share-prices for each operator of each epoch, written once instead of per request.
CREATE TABLE operator_points (
  epoch BIGINT,
  operator_id INTEGER,
  point TEXT NOT NULL,
  PRIMARY KEY (epoch, operator_id)
);
CREATE INDEX operator_points_by_operator ON operator_points (operator_id, epoch) INCLUDE (point);
COMMENT ON TABLE operator_points IS
  'Each operator at each epoch as /api/share-prices publishes it; see refresh_epoch_documents.';

CREATE FUNCTION operator_points_of(first_epoch BIGINT, last_epoch BIGINT)
RETURNS SETOF operator_points LANGUAGE sql STABLE AS $$
SELECT epoch::bigint, operator_id, concat(
  '{"epoch":', epoch,
  ',"operatorId":', operator_id,
  ',"timestamp":', coalesce(timestamp::text, 'null'),
  ',"sharePricePerq":', coalesce('"' || share_price_perq || '"', 'null'),
  ',"stakePerShare":', coalesce(
    '"' || stake_per_share(shares_raw, stake_raw, reward_raw, nomination_tax) || '"', 'null'),
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
           WHERE epoch BETWEEN first_epoch AND last_epoch) AS document USING (epoch)
$$;

-- Make epoch_documents and operator_points say what the other tables say about these epochs,
-- touching only rows that differ. Returns how many documents that changed.
CREATE FUNCTION refresh_epoch_documents(first_epoch BIGINT, last_epoch BIGINT) RETURNS BIGINT
LANGUAGE plpgsql AS $$
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
  RETURN removed + written;
END
$$;

-- Whoever refreshes the analytics of some epochs refreshes their documents in the same breath.
ALTER FUNCTION refresh_epoch_analytics(BIGINT, BIGINT) RENAME TO refresh_epoch_analytics_rows;
CREATE FUNCTION refresh_epoch_analytics(first_epoch BIGINT, last_epoch BIGINT) RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE
  rows CONSTANT BIGINT := refresh_epoch_analytics_rows(first_epoch, last_epoch);
BEGIN
  RETURN greatest(rows, refresh_epoch_documents(first_epoch, last_epoch));
END
$$;

DO $$
BEGIN
  PERFORM refresh_epoch_documents(min(epoch), max(epoch)) FROM epoch_analytics;
END
$$;

-- ---- notices

CREATE FUNCTION announce_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('operator_prices_epoch', NEW.epoch::text);
  RETURN NULL;
END
$$;
CREATE TRIGGER announce_epoch AFTER INSERT ON epoch_documents
  FOR EACH ROW EXECUTE FUNCTION announce_epoch();

DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{epochs, operator_share_prices, operator_shares, operators_metadata,
                          quarantine, skipped_epochs, epoch_analytics, epoch_documents,
                          operator_points}'::text[]
  LOOP
    EXECUTE format(
      'CREATE TRIGGER note_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
    EXECUTE format(
      'CREATE TRIGGER note_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
    EXECUTE format(
      'CREATE TRIGGER note_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS changed'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
    EXECUTE format(
      'CREATE TRIGGER note_truncate AFTER TRUNCATE ON %I'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
  END LOOP;
END
$$;

-- ---- the role that reads

-- Roles belong to the whole server: several of our databases share this one. Its comment says who
-- made it, so that only our own is ever dropped. It has no password until an administrator sets one.
DO $$
BEGIN
  IF to_regrole('operator_prices_reader') IS NULL THEN
    CREATE ROLE operator_prices_reader LOGIN;
    COMMENT ON ROLE operator_prices_reader IS 'created by operator-prices';
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another database of this server was migrated at the same moment
  WHEN insufficient_privilege THEN
    RAISE NOTICE 'this user may not create roles: have an administrator run CREATE ROLE operator_prices_reader LOGIN PASSWORD ''...'', then GRANT SELECT on the tables listed in sql/06_create_serving.sql to it';
END
$$;

DO $$
BEGIN
  IF to_regrole('operator_prices_reader') IS NOT NULL THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO operator_prices_reader', current_schema());
    GRANT SELECT ON epochs, operator_share_prices, operator_shares, operators_metadata,
      epoch_analytics, comprehensive_analytics, epoch_documents, operator_points, data_version, quarantine,
      skipped_epochs, chain_identity TO operator_prices_reader;
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'this user may not grant rights on schema %, which operator_prices_reader needs', current_schema();
END
$$;
