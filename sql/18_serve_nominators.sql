-- What it takes to serve nominators: how far the domain was at the end of each epoch, by which the
-- time of an unlock block is estimated, and the largest positions of an operator in their order.
-- depends: 13_create_nominators

ALTER TABLE nominator_epochs ADD COLUMN head_domain_number BIGINT;
COMMENT ON COLUMN nominator_epochs.head_domain_number IS
  'The number of the newest domain block at the end block; NULL where it was not read.';

CREATE INDEX nominator_positions_largest ON nominator_positions
  (operator_id, shares_raw DESC, nominator) WHERE until_epoch IS NULL AND NOT ended;
