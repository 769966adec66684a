DROP FUNCTION stake_per_share(NUMERIC, NUMERIC, NUMERIC, SMALLINT);
DROP FUNCTION number_or_null(TEXT);

DO $$
DECLARE
  function TEXT;
  old TEXT;
BEGIN
  FOREACH function IN ARRAY ARRAY['parse_comma_number', 'hex_to_numeric'] LOOP
    SELECT definition INTO old FROM before_migration WHERE (kind, name) = ('function', function);
    EXECUTE coalesce(old, format('DROP FUNCTION %I(TEXT)', function));
  END LOOP;
END
$$;

DELETE FROM before_migration WHERE kind = 'function';
