-- What the first generation of the old system does not tell is NULL: the time of an epoch, its end
-- hash, and the shares of an operator. No lock is held for longer than the catalog needs.
-- depends: 10_protect

-- With the name of the constraint, which Postgres 18 gives it.
INSERT INTO before_migration (kind, name, definition)
  SELECT 'not null', attname, (
    SELECT conname FROM pg_constraint
    WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum])
  FROM pg_attribute
  WHERE attrelid = 'epochs'::regclass AND attname IN ('timestamp', 'end_hash') AND attnotnull;

ALTER TABLE epochs ALTER timestamp DROP NOT NULL, ALTER end_hash DROP NOT NULL;
ALTER TABLE epoch_analytics ALTER timestamp DROP NOT NULL;
ALTER TABLE epoch_documents ALTER timestamp DROP NOT NULL;
ALTER TABLE operator_shares ALTER shares_raw DROP NOT NULL;

COMMENT ON COLUMN epochs.timestamp IS
  'Unix milliseconds; the wall clock of the old backfill in a legacy row, NULL in one of the first generation.';
COMMENT ON COLUMN operator_shares.shares_raw IS
  'NULL in a row of the first generation, which tells active stakes and rewards alone.';

-- The functions that say so differ from what they were in one place each.
DO $$
DECLARE
  change RECORD;
  known TEXT;
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
    known := pg_get_functiondef(change.name::regprocedure);
    IF strpos(known, change.before) = 0 THEN
      RAISE EXCEPTION 'function % is not the one that this version made', change.name
        USING HINT = 'Restore it from sql/03_update_comprehensive_view.sql or sql/06_create_serving.sql.';
    END IF;
    EXECUTE replace(known, change.before, change.after);
  END LOOP;
END
$$;
