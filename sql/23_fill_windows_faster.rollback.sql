DO $$
DECLARE
  known RECORD;
BEGIN
  FOR known IN SELECT definition FROM before_migration WHERE kind = 'slower definition' LOOP
    EXECUTE known.definition;
  END LOOP;
  FOR known IN SELECT name, definition FROM before_migration WHERE kind = 'storage' LOOP
    EXECUTE format('ALTER TABLE epochs ALTER %I SET STORAGE %s', known.name, known.definition);
  END LOOP;
END
$$;
DELETE FROM before_migration WHERE kind IN ('slower definition', 'storage');

ALTER TABLE epoch_analytics
  ALTER operator_share_prices_json SET STORAGE EXTENDED,
  ALTER operator_stakes_json SET STORAGE EXTENDED,
  ALTER operator_rewards_json SET STORAGE EXTENDED,
  ALTER operator_shares_json SET STORAGE EXTENDED,
  ALTER operator_stake_per_share_json SET STORAGE EXTENDED,
  ALTER operator_total_stakes_json SET STORAGE EXTENDED,
  ALTER operator_price_sources_json SET STORAGE EXTENDED,
  ALTER operator_statuses_json SET STORAGE EXTENDED;
