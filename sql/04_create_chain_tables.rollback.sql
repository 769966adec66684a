DROP TABLE chain_identity, quarantine, skipped_epochs;
