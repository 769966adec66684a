-- Rows that were replaced or removed come back as they were, rows of the pipeline go, added columns
-- go. Rows first and the catalog last, so that readers of epochs wait for the catalog only.
DO $$
DECLARE
  columns TEXT;
  values TEXT;
  added TEXT;
BEGIN
  IF NOT EXISTS (SELECT FROM before_migration WHERE (kind, name) = ('table', 'epochs')) THEN
    DROP TABLE epochs;
    RETURN;
  END IF;

  DELETE FROM epochs
    WHERE source IS NOT NULL AND epoch NOT IN (SELECT epoch FROM epochs_original);
  SELECT string_agg(quote_ident(attname), ', '), string_agg('excluded.' || quote_ident(attname), ', ')
    INTO columns, values
    FROM pg_attribute
    WHERE attrelid = 'epochs'::regclass AND attgenerated = '' AND attname IN (
      SELECT attname FROM pg_attribute WHERE attrelid = 'epochs_original'::regclass AND attnum > 0);
  EXECUTE format(
    'INSERT INTO epochs (%1$s) SELECT %1$s FROM epochs_original'
    ' ON CONFLICT (epoch) DO UPDATE SET (%1$s) = ROW (%2$s)', columns, values);

  DROP TRIGGER keep_original_epoch ON epochs;
  SELECT string_agg('DROP COLUMN ' || name, ', ') INTO added
    FROM unnest(ARRAY['domain_id', 'source', 'spec_version', 'transition_block', 'transition_hash',
                      'complete']) AS name
    WHERE name NOT IN (
      SELECT attname FROM pg_attribute WHERE attrelid = 'epochs_original'::regclass AND attnum > 0);
  EXECUTE 'ALTER TABLE epochs ' || added;
END
$$;

DROP FUNCTION keep_original_epoch();
DROP TABLE epochs_original, operator_share_prices, operator_shares, operators_metadata;

-- With Dagster's run history in it.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM before_migration WHERE (kind, name) = ('schema', 'dagster')) THEN
    DROP SCHEMA IF EXISTS dagster CASCADE;
  END IF;
END
$$;

DROP TABLE before_migration;
