DROP FUNCTION nominator_sums(INTEGER, INTEGER);
DROP INDEX nominator_positions_long_pending;
