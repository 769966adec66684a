CREATE OR REPLACE VIEW raw_epochs AS
SELECT epoch, end_block, end_hash, timestamp, data, domain_id::integer AS domain_id, source,
       spec_version, transition_block, transition_hash, complete::boolean AS complete
FROM epochs;

ALTER TABLE quarantine DROP COLUMN operator_id, DROP COLUMN path;
DROP TABLE normalized_epochs, legacy_prices, legacy_windows, legacy_hashes,
  legacy_foreign;
