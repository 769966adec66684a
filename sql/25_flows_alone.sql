-- What an operator's nominators paid in and were paid out is read from the changes in which something
-- was, or may have been: their index has no others. The index of what is held now by account was read
-- by nothing: that of the largest positions has the same rows.
-- depends: 24_fill_windows_in_one_go

CREATE INDEX nominator_positions_flows ON nominator_positions (operator_id, epoch)
  INCLUDE (deposited_raw, deposited_storage_fee_raw, tax_raw, tax_storage_fee_raw,
           withdrawn_shares_raw, released_raw, released_storage_fee_raw)
  WHERE deposited_raw IS DISTINCT FROM 0 OR deposited_storage_fee_raw IS DISTINCT FROM 0
     OR tax_raw IS DISTINCT FROM 0 OR tax_storage_fee_raw IS DISTINCT FROM 0
     OR withdrawn_shares_raw IS DISTINCT FROM 0
     OR released_raw IS DISTINCT FROM 0 OR released_storage_fee_raw IS DISTINCT FROM 0;
DROP INDEX nominator_positions_by_operator, nominator_positions_now;
