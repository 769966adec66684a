-- The owner of each operator by epoch, by which a change of the owner is an event. Rows that are there
-- get it when their window is parsed again. No lock is held for longer than the catalog needs.
-- depends: 19_check_nominators

ALTER TABLE operator_shares ADD COLUMN owned_by TEXT;
COMMENT ON COLUMN operator_shares.owned_by IS
  'The account that owns the operator; NULL in legacy rows, and where it was not parsed yet.';

CREATE OR REPLACE VIEW operator_shares_text AS
SELECT
  epoch, operator_id, shares_raw::text AS shares_raw, stake_raw::text AS stake_raw,
  active_stake_raw::text AS active_stake_raw, reward_raw::text AS reward_raw,
  storage_fee_deposit_raw::text AS storage_fee_deposit_raw, nomination_tax, status,
  shares_after_raw::text AS shares_after_raw, stake_after_raw::text AS stake_after_raw, source,
  inserted_at, owned_by
FROM operator_shares;

-- Events differ from what they were in these places.
DO $$
DECLARE
  change RECORD;
  known TEXT := pg_get_functiondef('operator_events(bigint, bigint, integer, bigint)'::regprocedure);
BEGIN
  FOR change IN
    SELECT * FROM (VALUES
      (1, $old$share.status, share.nomination_tax
  FROM chosen$old$,
       $new$share.status, share.nomination_tax, share.owned_by
  FROM chosen$new$),
      (2, $old$         AND share.nomination_tax IS NOT NULL)), -1)$old$,
       $new$         AND share.nomination_tax IS NOT NULL),
      (SELECT max(share.epoch) FROM operator_shares AS share
       WHERE share.operator_id = chosen.operator_id AND share.epoch < first_epoch
         AND share.owned_by IS NOT NULL)), -1)$new$),
      (3, $old$), prices AS ($old$,
       $new$), owners AS (
  SELECT known.epoch, known.operator_id, known.owned_by AS after,
         lag(known.owned_by) OVER (PARTITION BY known.operator_id ORDER BY known.epoch) AS before
  FROM known WHERE known.owned_by IS NOT NULL
), prices AS ($new$),
      (4, $old$  UNION ALL
  SELECT standing.epoch$old$,
       $new$  UNION ALL
  SELECT owners.epoch, owners.operator_id, 'ownerChanged', before, after
  FROM owners WHERE before <> after
  UNION ALL
  SELECT standing.epoch$new$),
      (5, $old$         WHEN 'priceStill' THEN$old$,
       $new$         WHEN 'ownerChanged' THEN
           format('Owner changed from %s to %s', happened.before, happened.after)
         WHEN 'priceStill' THEN$new$)
    ) AS changes (place, before, after) ORDER BY place
  LOOP
    IF strpos(known, change.before) = 0 THEN
      RAISE EXCEPTION 'function operator_events is not the one that this version made'
        USING HINT = 'Restore it from sql/15_create_alerts.sql.';
    END IF;
    known := replace(known, change.before, change.after);
  END LOOP;
  EXECUTE known;
END
$$;
