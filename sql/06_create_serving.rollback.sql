DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{epochs, operator_share_prices, operator_shares, operators_metadata,
                          quarantine, skipped_epochs, epoch_analytics}'::text[]
  LOOP
    EXECUTE format('DROP TRIGGER note_insert ON %I', name);
    EXECUTE format('DROP TRIGGER note_update ON %I', name);
    EXECUTE format('DROP TRIGGER note_delete ON %I', name);
    EXECUTE format('DROP TRIGGER note_truncate ON %I', name);
  END LOOP;
END
$$;

DROP FUNCTION refresh_epoch_analytics(BIGINT, BIGINT);
ALTER FUNCTION refresh_epoch_analytics_rows(BIGINT, BIGINT) RENAME TO refresh_epoch_analytics;
DROP FUNCTION refresh_epoch_documents(BIGINT, BIGINT);
DROP FUNCTION epoch_document(epoch_analytics, TEXT[]);
DROP FUNCTION operator_points_of(BIGINT, BIGINT);
DROP FUNCTION published_object(JSONB, TEXT[]);

-- What was granted is taken back in any case; the role itself may still serve another database.
DO $$
BEGIN
  IF to_regrole('operator_prices_reader') IS NULL THEN
    RETURN;
  END IF;
  BEGIN
    REVOKE SELECT ON epochs, operator_share_prices, operator_shares, operators_metadata,
      epoch_analytics, comprehensive_analytics, epoch_documents, operator_points, data_version,
      quarantine, skipped_epochs, chain_identity FROM operator_prices_reader;
    EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM operator_prices_reader', current_schema());
  EXCEPTION
    WHEN undefined_object THEN
      RETURN;  -- another database of this server was rolled back at the same moment
  END;
  IF shobj_description('operator_prices_reader'::regrole, 'pg_authid')
     IS DISTINCT FROM 'created by operator-prices' THEN
    RETURN;
  END IF;
  BEGIN
    DROP ROLE operator_prices_reader;
  EXCEPTION
    WHEN dependent_objects_still_exist THEN
      RAISE NOTICE 'role operator_prices_reader stays: another database of this server grants to it';
    WHEN insufficient_privilege THEN
      RAISE NOTICE 'role operator_prices_reader stays: this user may not drop it';
    WHEN undefined_object THEN
      NULL;
  END;
END
$$;

DROP TABLE epoch_documents, operator_points, data_version, data_changes;
DROP FUNCTION announce_epoch();
DROP FUNCTION note_data_change();
DROP FUNCTION raise_data_version();
