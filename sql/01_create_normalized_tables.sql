-- The tables the pipeline fills, and a schema for Dagster's own storage. An old database keeps its
-- table epochs and every row of it: six nullable columns are added, in the catalog only.

CREATE TABLE before_migration (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  definition TEXT,
  PRIMARY KEY (kind, name)
);
COMMENT ON TABLE before_migration IS
  'What was there before the migrations and must be there again after a rollback.';

INSERT INTO before_migration (kind, name)
  SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'dagster'
  UNION ALL
  SELECT 'table', relname FROM pg_class WHERE oid = to_regclass('epochs');

-- Refuse what is not the old table, in words, before anything is changed.
DO $$
DECLARE
  epochs CONSTANT regclass := to_regclass('epochs');
  unfit TEXT;
BEGIN
  IF epochs IS NULL THEN
    RETURN;
  END IF;
  SELECT string_agg(expected.name, ', ' ORDER BY expected.name) INTO unfit
    FROM (VALUES ('epoch', 'N'), ('end_block', 'N'), ('end_hash', 'S'), ('timestamp', 'N'),
                 ('data', 'jsonb')) AS expected (name, wanted)
    WHERE NOT EXISTS (
      SELECT FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
      WHERE attrelid = epochs AND attname = expected.name AND NOT attisdropped
        AND expected.wanted IN (typname, typcategory));
  IF unfit IS NOT NULL THEN
    RAISE EXCEPTION 'table epochs is not the old one: missing or of another type: %', unfit
      USING HINT = 'Migrate a database of its own, or rename that table.';
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = epochs AND indisunique AND indnkeyatts = 1 AND indpred IS NULL
      AND attname = 'epoch') THEN
    RAISE EXCEPTION 'table epochs has no primary or unique key on epoch alone'
      USING HINT = 'Remove duplicate epochs, then ALTER TABLE epochs ADD PRIMARY KEY (epoch).';
  END IF;
  IF EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = epochs AND attname = 'source' AND NOT attisdropped)
  THEN
    RAISE EXCEPTION 'table epochs has a column source already, by which we tell our rows from yours'
      USING HINT = 'Rename that column.';
  END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS dagster;

CREATE TABLE operator_share_prices (
  epoch INTEGER,
  operator_id INTEGER,
  share_price_perq NUMERIC(40, 0) NOT NULL,
  source TEXT NOT NULL DEFAULT 'epochs_json',
  inserted_at TIMESTAMPTZ DEFAULT now(),
  PRIMARY KEY (epoch, operator_id)
);
CREATE INDEX operator_share_prices_by_operator
  ON operator_share_prices (operator_id, epoch) INCLUDE (share_price_perq);
COMMENT ON COLUMN operator_share_prices.share_price_perq IS
  'The chain''s price: shares per stake, times 10^18. What a share is worth is its reciprocal.';
COMMENT ON COLUMN operator_share_prices.source IS
  'chain (read from storage), epochs_json (a legacy snapshot) or derived (computed from the state).';

CREATE TABLE operator_shares (
  epoch INTEGER,
  operator_id INTEGER,
  shares_raw NUMERIC(40, 0) NOT NULL,
  stake_raw NUMERIC(40, 0),
  active_stake_raw NUMERIC(40, 0),
  reward_raw NUMERIC(40, 0),
  storage_fee_deposit_raw NUMERIC(40, 0),
  nomination_tax SMALLINT,
  status TEXT,
  shares_after_raw NUMERIC(40, 0),
  stake_after_raw NUMERIC(40, 0),
  source TEXT,
  inserted_at TIMESTAMPTZ DEFAULT now(),
  PRIMARY KEY (epoch, operator_id)
);
CREATE INDEX operator_shares_by_operator
  ON operator_shares (operator_id, epoch)
  INCLUDE (shares_raw, stake_raw, reward_raw, nomination_tax);
COMMENT ON TABLE operator_shares IS
  'Every operator at the end block of every epoch; *_after_raw at the transition block after it.';

CREATE TABLE operators_metadata (
  operator_id INTEGER PRIMARY KEY,
  name TEXT,
  color TEXT,
  first_seen_epoch INTEGER,
  last_seen_epoch INTEGER,
  is_active BOOLEAN DEFAULT true,
  owner TEXT,
  signing_key TEXT,
  nomination_tax SMALLINT,
  minimum_nominator_stake NUMERIC(40, 0),
  status TEXT,
  metadata JSONB,
  created_at TIMESTAMPTZ DEFAULT now(),
  updated_at TIMESTAMPTZ DEFAULT now()
);
COMMENT ON TABLE operators_metadata IS
  'Every operator ever seen; name, color and metadata belong to people.';

CREATE TABLE IF NOT EXISTS epochs (
  epoch BIGINT PRIMARY KEY,
  end_block BIGINT NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp BIGINT NOT NULL,
  data JSONB NOT NULL,
  created_at TIMESTAMPTZ DEFAULT now()
);

-- Its columns are those of epochs before we add ours.
CREATE TABLE epochs_original (LIKE epochs, PRIMARY KEY (epoch));
COMMENT ON TABLE epochs_original IS
  'Rows of epochs that were not ours, as they were before their first change.';

-- The columns are written out once, here. Whoever changes a row, an old writer included, needs no
-- right of its own on the copy.
DO $$
DECLARE
  columns TEXT;
  values TEXT;
BEGIN
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
         string_agg('OLD.' || quote_ident(attname), ', ' ORDER BY attnum)
    INTO columns, values
    FROM pg_attribute
    WHERE attrelid = 'epochs_original'::regclass AND attnum > 0;
  EXECUTE format($create$
CREATE FUNCTION keep_original_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$
BEGIN
  INSERT INTO %I.epochs_original (%s) VALUES (%s) ON CONFLICT (epoch) DO NOTHING;
  RETURN NULL;
END
$body$
$create$, current_schema(), columns, values);
END
$$;

ALTER TABLE epochs
  ADD COLUMN IF NOT EXISTS domain_id INTEGER,
  ADD COLUMN source TEXT,
  ADD COLUMN IF NOT EXISTS spec_version BIGINT,
  ADD COLUMN IF NOT EXISTS transition_block BIGINT,
  ADD COLUMN IF NOT EXISTS transition_hash TEXT,
  ADD COLUMN IF NOT EXISTS complete BOOLEAN;
COMMENT ON COLUMN epochs.source IS
  'chain or legacy; NULL marks a row that the old system wrote and the pipeline never touched.';

CREATE TRIGGER keep_original_epoch AFTER UPDATE OR DELETE ON epochs
  FOR EACH ROW WHEN (OLD.source IS NULL) EXECUTE FUNCTION keep_original_epoch();
