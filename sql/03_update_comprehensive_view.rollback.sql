DROP FUNCTION refresh_epoch_analytics(BIGINT, BIGINT);
DROP FUNCTION epoch_analytics_of(BIGINT, BIGINT);
DROP VIEW raw_epochs;
DROP VIEW comprehensive_analytics;
DROP TABLE epoch_analytics;

DO $$
BEGIN
  IF EXISTS (SELECT FROM before_migration WHERE (kind, name) = ('view', 'comprehensive_analytics'))
  THEN
    ALTER TABLE IF EXISTS comprehensive_analytics_old RENAME TO comprehensive_analytics;
  END IF;
END
$$;

DELETE FROM before_migration WHERE kind = 'view';
