CREATE INDEX nominator_positions_by_operator ON nominator_positions (operator_id, epoch)
  INCLUDE (deposited_raw, deposited_storage_fee_raw, tax_raw, tax_storage_fee_raw,
           withdrawn_shares_raw, released_raw, released_storage_fee_raw);
CREATE INDEX nominator_positions_now ON nominator_positions (operator_id, nominator)
  WHERE until_epoch IS NULL AND NOT ended;
DROP INDEX nominator_positions_flows;
