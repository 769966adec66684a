DROP FUNCTION hidden_tables();
DROP FUNCTION row_security_state();
DROP VIEW operator_share_prices_text, operator_shares_text, comprehensive_analytics_text;

DO $$
DECLARE
  old TEXT;
BEGIN
  FOR old IN SELECT definition FROM before_migration WHERE kind = 'definition' LOOP
    EXECUTE old;
  END LOOP;
END
$$;
DELETE FROM before_migration WHERE kind = 'definition';

ALTER TABLE data_version DROP CONSTRAINT data_version_pkey;
ALTER TABLE chain_identity DROP CONSTRAINT chain_identity_pkey;
ALTER TABLE source_head DROP COLUMN is_one;
DROP TABLE published_to;
