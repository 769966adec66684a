DROP INDEX nominator_positions_largest;
ALTER TABLE nominator_epochs DROP COLUMN head_domain_number;
