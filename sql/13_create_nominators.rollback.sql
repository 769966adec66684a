DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{hidden_tables(), row_security_state()}'::text[] LOOP
    EXECUTE replace(
      pg_get_functiondef(name::regprocedure),
      'source_head, nominator_epochs, raw_nominators, nominator_positions, nominator_accounts}',
      'source_head}');
  END LOOP;
END
$$;

DROP VIEW nominator_positions_by_epoch_text, nominator_positions_by_epoch, nominators;
DROP TABLE nominator_epochs, raw_nominators, nominator_positions, nominator_accounts;
DROP FUNCTION shares_to_stake(NUMERIC, NUMERIC);
DROP FUNCTION stake_to_shares(NUMERIC, NUMERIC);
