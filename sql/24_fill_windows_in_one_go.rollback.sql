LOCK TABLE operator_points;
DROP INDEX operator_points_by_operator;
CREATE INDEX operator_points_by_operator ON operator_points (operator_id, epoch) INCLUDE (point);

DO $$
DECLARE
  known RECORD;
BEGIN
  FOR known IN SELECT definition FROM before_migration WHERE kind = 'definition before 24' LOOP
    EXECUTE known.definition;
  END LOOP;
END
$$;
DELETE FROM before_migration WHERE kind = 'definition before 24';
