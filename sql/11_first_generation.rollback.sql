-- Rows that only the first generation tells go, and so do those of operators without shares.
DELETE FROM operator_shares WHERE shares_raw IS NULL;
DELETE FROM epoch_documents WHERE timestamp IS NULL;
DELETE FROM epoch_analytics WHERE timestamp IS NULL;
DELETE FROM epochs WHERE source IS NOT NULL AND (timestamp IS NULL OR end_hash IS NULL);

DO $$
DECLARE
  change RECORD;
BEGIN
  FOR change IN
    SELECT * FROM (VALUES
      ('epoch_analytics_of(bigint, bigint)',
       'jsonb_object_agg(operator_id, shares_raw::text) AS shares_json',
       'jsonb_object_agg(operator_id, shares_raw::text)
           FILTER (WHERE shares_raw IS NOT NULL) AS shares_json'),
      ('epoch_document(epoch_analytics, text[])',
       ''',"timestamp":'', fact.timestamp,',
       ''',"timestamp":'', coalesce(fact.timestamp::text, ''null''),')
    ) AS changes (name, before, after)
  LOOP
    EXECUTE replace(pg_get_functiondef(change.name::regprocedure), change.after, change.before);
  END LOOP;
END
$$;

COMMENT ON COLUMN operator_shares.shares_raw IS NULL;
COMMENT ON COLUMN epochs.timestamp IS NULL;
ALTER TABLE operator_shares ALTER shares_raw SET NOT NULL;
ALTER TABLE epoch_documents ALTER timestamp SET NOT NULL;
ALTER TABLE epoch_analytics ALTER timestamp SET NOT NULL;

-- An old table may have been without.
DO $$
DECLARE
  known RECORD;
BEGIN
  FOR known IN SELECT name, definition FROM before_migration WHERE kind = 'not null' LOOP
    IF known.definition IS NULL THEN
      EXECUTE format('ALTER TABLE epochs ALTER %I SET NOT NULL', known.name);
    ELSE
      EXECUTE format(
        'ALTER TABLE epochs ADD CONSTRAINT %I NOT NULL %I', known.definition, known.name);
    END IF;
  END LOOP;
END
$$;
DELETE FROM before_migration WHERE kind = 'not null';
