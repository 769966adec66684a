-- What nominators have with operators: the chain's entries as they were read, kept where they change,
-- and what each position is by them, with the value of every epoch by that epoch's price.
-- depends: 12_create_run_signs

-- ---- the chain's conversions, whose products exceed 128 bits

CREATE FUNCTION stake_to_shares(amount NUMERIC, share_price_perq NUMERIC)
RETURNS NUMERIC LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN div(amount * share_price_perq, 1000000000000000000);
END
$$;

-- The chain rounds a price below 1 up by one part before it takes the reciprocal.
CREATE FUNCTION shares_to_stake(shares NUMERIC, share_price_perq NUMERIC)
RETURNS NUMERIC LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN CASE WHEN share_price_perq < 1000000000000000000
    THEN div(shares * 1000000000000000000, share_price_perq + 1)
    WHEN share_price_perq IS NOT NULL THEN shares END;
END
$$;

DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{stake_to_shares, shares_to_stake}'::text[] LOOP
    EXECUTE format('ALTER FUNCTION %I(NUMERIC, NUMERIC) SET search_path = %I, pg_temp',
                   name, current_schema());
  END LOOP;
END
$$;

-- ---- the entries as they were read

CREATE TABLE nominator_epochs (
  epoch INTEGER PRIMARY KEY,
  end_hash TEXT NOT NULL,
  listed BOOLEAN NOT NULL,
  complete BOOLEAN NOT NULL,
  source TEXT NOT NULL
);
COMMENT ON TABLE nominator_epochs IS
  'Every epoch of which the entries of all nominators are known, and at which block they were read.';
COMMENT ON COLUMN nominator_epochs.listed IS
  'Whether all keys were listed at this end block; else what may have changed since the epoch before was read.';
COMMENT ON COLUMN nominator_epochs.complete IS
  'False where something of a nominator is in quarantine: the next run reads it again.';

CREATE TABLE raw_nominators (
  epoch INTEGER,
  operator_id INTEGER,
  nominator TEXT,
  shares_raw NUMERIC(40, 0),
  storage_fee_deposit_raw NUMERIC(40, 0),
  pending_epoch INTEGER,
  pending_raw NUMERIC(40, 0),
  pending_storage_fee_raw NUMERIC(40, 0),
  unlocking JSONB,
  withdrawing_epoch INTEGER,
  withdrawing_block BIGINT,
  withdrawing_shares_raw NUMERIC(40, 0),
  withdrawing_storage_fee_raw NUMERIC(40, 0),
  on_hold_raw NUMERIC(40, 0),
  pending_price_perq NUMERIC(40, 0),
  withdrawing_price_perq NUMERIC(40, 0),
  source TEXT NOT NULL,
  PRIMARY KEY (operator_id, nominator, epoch)
);
CREATE INDEX raw_nominators_by_epoch ON raw_nominators (epoch);
COMMENT ON TABLE raw_nominators IS
  'What the chain stores of a nominator, from an epoch on at which it was another than before.';
COMMENT ON COLUMN raw_nominators.shares_raw IS 'Known shares; NULL where there is no entry in Deposits.';
COMMENT ON COLUMN raw_nominators.pending_epoch IS
  'The epoch whose price turns the pending deposit into shares; the chain stores it as pending until the nominator acts again.';
COMMENT ON COLUMN raw_nominators.unlocking IS
  'What waits for its unlock block, oldest first; NULL where there is no entry in Withdrawals.';
COMMENT ON COLUMN raw_nominators.on_hold_raw IS 'NULL where there is no entry in DepositOnHold.';
COMMENT ON COLUMN raw_nominators.pending_price_perq IS
  'The price of pending_epoch, read along with a listing where that epoch itself may not be known.';

-- ---- what each position is

CREATE TABLE nominator_positions (
  operator_id INTEGER,
  nominator TEXT,
  epoch INTEGER,
  until_epoch INTEGER,
  ended BOOLEAN NOT NULL,
  shares_raw NUMERIC(40, 0) NOT NULL,
  pending_raw NUMERIC(40, 0) NOT NULL,
  withdrawing_shares_raw NUMERIC(40, 0) NOT NULL,
  unlocking_raw NUMERIC(40, 0) NOT NULL,
  unlocking JSONB NOT NULL,
  storage_fee_deposit_raw NUMERIC(40, 0) NOT NULL,
  on_hold_raw NUMERIC(40, 0),
  deposited_raw NUMERIC(40, 0),
  deposited_storage_fee_raw NUMERIC(40, 0),
  tax_raw NUMERIC(40, 0),
  tax_storage_fee_raw NUMERIC(40, 0),
  withdrawn_shares_raw NUMERIC(40, 0),
  released_raw NUMERIC(40, 0),
  released_storage_fee_raw NUMERIC(40, 0),
  source TEXT NOT NULL,
  inserted_at TIMESTAMPTZ DEFAULT now(),
  PRIMARY KEY (operator_id, nominator, epoch)
);
CREATE INDEX nominator_positions_by_nominator ON nominator_positions (nominator, operator_id, epoch);
CREATE INDEX nominator_positions_by_operator ON nominator_positions (operator_id, epoch)
  INCLUDE (deposited_raw, deposited_storage_fee_raw, tax_raw, tax_storage_fee_raw,
           withdrawn_shares_raw, released_raw, released_storage_fee_raw);
CREATE INDEX nominator_positions_by_epoch_of_change ON nominator_positions (epoch);
CREATE INDEX nominator_positions_now ON nominator_positions (operator_id, nominator)
  WHERE until_epoch IS NULL AND NOT ended;
COMMENT ON TABLE nominator_positions IS
  'Each change of what a nominator has with an operator; a row holds from its epoch on until the next of the pair.';
COMMENT ON COLUMN nominator_positions.until_epoch IS
  'The epoch of the next row of the pair, NULL for the last one.';
COMMENT ON COLUMN nominator_positions.ended IS
  'Whether the chain has no entry of the pair any more: every amount is 0 then.';
COMMENT ON COLUMN nominator_positions.deposited_raw IS
  'Paid in at this epoch, without the storage fee and without tax; NULL where what was before is not known.';
COMMENT ON COLUMN nominator_positions.tax_raw IS
  'Minted to the operator''s owner as its tax, without the storage fee: earned and not paid in.';
COMMENT ON COLUMN nominator_positions.released_raw IS
  'Paid out at this epoch by an unlock, without the storage fee; NULL where the chain does not say.';

CREATE TABLE nominator_accounts (
  nominator TEXT PRIMARY KEY,
  address TEXT NOT NULL
);
CREATE INDEX nominator_accounts_by_address ON nominator_accounts (address);
COMMENT ON TABLE nominator_accounts IS 'Every account that ever had a position, and its address.';

-- shares_to_stake is written out: whom a view is published to may call no function.
CREATE VIEW nominator_positions_by_epoch AS
SELECT known.epoch, position.operator_id, position.nominator, position.shares_raw,
       CASE WHEN price.share_price_perq < 1000000000000000000
         THEN div(position.shares_raw * 1000000000000000000, price.share_price_perq + 1)
         WHEN price.share_price_perq IS NOT NULL THEN position.shares_raw END AS stake_raw,
       position.pending_raw, position.withdrawing_shares_raw, position.unlocking_raw,
       position.storage_fee_deposit_raw, position.on_hold_raw
FROM nominator_positions AS position
JOIN nominator_epochs AS known
  ON known.epoch >= position.epoch
  AND (position.until_epoch IS NULL OR known.epoch < position.until_epoch)
LEFT JOIN operator_share_prices AS price
  ON price.epoch = known.epoch AND price.operator_id = position.operator_id
WHERE NOT position.ended;
COMMENT ON VIEW nominator_positions_by_epoch IS
  'Every position at every epoch at whose end block the chain has an entry of it, and its value.';

CREATE VIEW nominators AS
SELECT account.nominator, account.address, seen.first_seen_epoch, seen.last_seen_epoch
FROM nominator_accounts AS account
CROSS JOIN LATERAL (
  SELECT min(epoch) AS first_seen_epoch,
         max(CASE WHEN until_epoch IS NULL THEN (SELECT max(epoch) FROM nominator_epochs)
             ELSE until_epoch - 1 END) AS last_seen_epoch
  FROM nominator_positions AS position
  WHERE position.nominator = account.nominator AND NOT ended) AS seen
WHERE seen.first_seen_epoch IS NOT NULL;
COMMENT ON VIEW nominators IS
  'Every account that ever had a position, and the first and the last epoch at which it has one.';

CREATE VIEW nominator_positions_by_epoch_text AS
SELECT epoch, operator_id, nominator, shares_raw::text AS shares_raw, stake_raw::text AS stake_raw,
       pending_raw::text AS pending_raw, withdrawing_shares_raw::text AS withdrawing_shares_raw,
       unlocking_raw::text AS unlocking_raw,
       storage_fee_deposit_raw::text AS storage_fee_deposit_raw, on_hold_raw::text AS on_hold_raw
FROM nominator_positions_by_epoch;
COMMENT ON VIEW nominator_positions_by_epoch_text IS
  'nominator_positions_by_epoch with its exact numbers as text.';

-- ---- what is served from them is a function of the data's version, too

DO $$
DECLARE
  name TEXT;
BEGIN
  FOREACH name IN ARRAY '{nominator_epochs, nominator_positions, nominator_accounts}'::text[] LOOP
    EXECUTE format(
      'CREATE TRIGGER note_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
    EXECUTE format(
      'CREATE TRIGGER note_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
    EXECUTE format(
      'CREATE TRIGGER note_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS changed'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
    EXECUTE format(
      'CREATE TRIGGER note_truncate AFTER TRUNCATE ON %I'
      ' FOR EACH STATEMENT EXECUTE FUNCTION note_data_change()', name);
  END LOOP;
END
$$;

-- ---- a table that is hidden reads like an empty one

DO $$
DECLARE
  change RECORD;
  known TEXT;
BEGIN
  FOR change IN
    SELECT name, 'source_head}' AS before,
           'source_head, nominator_epochs, raw_nominators, nominator_positions, nominator_accounts}'
             AS after
    FROM unnest('{hidden_tables(), row_security_state()}'::text[]) AS name
  LOOP
    known := pg_get_functiondef(change.name::regprocedure);
    IF strpos(known, change.before) = 0 THEN
      RAISE EXCEPTION 'function % is not the one that this version made', change.name
        USING HINT = 'Restore it from sql/10_protect.sql.';
    END IF;
    EXECUTE replace(known, change.before, change.after);
  END LOOP;
END
$$;
