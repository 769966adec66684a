-- How far the source was when it last answered, so that whoever only reads can tell a chain that is
-- quiet from one that is no longer followed.
-- depends: 06_create_serving

CREATE TABLE source_head (
  heard_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  grown_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  best_block BIGINT NOT NULL,
  completed_epoch BIGINT
);
CREATE UNIQUE INDEX source_head_is_one ON source_head ((true));
COMMENT ON TABLE source_head IS
  'One row: the best block and the last completed epoch of the source, as it last answered.';
COMMENT ON COLUMN source_head.grown_at IS 'When the best block was last another one than before.';

DO $$
BEGIN
  IF to_regrole('operator_prices_reader') IS NOT NULL THEN
    GRANT SELECT ON source_head TO operator_prices_reader;
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'this user may not grant SELECT on source_head, which operator_prices_reader needs';
END
$$;
