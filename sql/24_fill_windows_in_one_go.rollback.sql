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
