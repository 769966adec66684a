-- What the import of the old system's snapshots knows beside the epochs themselves.
-- depends: 06_create_serving

CREATE TABLE normalized_epochs (
  epoch BIGINT PRIMARY KEY,
  data JSONB NOT NULL,
  domain_id INTEGER NOT NULL,
  complete BOOLEAN NOT NULL
);
COMMENT ON TABLE normalized_epochs IS
  'The normal form of rows of epochs whose data stays as the old system wrote it.';

CREATE TABLE legacy_prices (
  epoch INTEGER,
  operator_id INTEGER,
  share_price_perq NUMERIC(40, 0),
  told_in BIGINT NOT NULL,
  PRIMARY KEY (epoch, operator_id)
);
COMMENT ON TABLE legacy_prices IS
  'Every price that a legacy snapshot tells, as the last one that tells it has it.';
COMMENT ON COLUMN legacy_prices.share_price_perq IS
  'NULL where no snapshot tells a price that can be understood.';
COMMENT ON COLUMN legacy_prices.told_in IS 'The epoch of that snapshot.';

CREATE TABLE legacy_windows (
  source TEXT,
  first_epoch BIGINT,
  fingerprint TEXT NOT NULL,
  epochs BIGINT NOT NULL,
  at TIMESTAMPTZ NOT NULL DEFAULT now(),
  PRIMARY KEY (source, first_epoch)
);
COMMENT ON TABLE legacy_windows IS
  'Which windows of which source are imported, so that an import goes on where it was stopped.';

CREATE TABLE legacy_hashes (
  epoch BIGINT PRIMARY KEY,
  end_block BIGINT NOT NULL,
  end_hash TEXT NOT NULL,
  chain_hash TEXT,
  compared_at TIMESTAMPTZ
);
COMMENT ON TABLE legacy_hashes IS
  'Where imported epochs ended, as their snapshots say, and the hash of that block on the chain.';
COMMENT ON COLUMN legacy_hashes.chain_hash IS 'NULL for no such block, or not compared yet.';

CREATE TABLE legacy_foreign (
  domain_id BIGINT,
  operator_id BIGINT,
  epoch BIGINT,
  PRIMARY KEY (domain_id, operator_id, epoch)
);
COMMENT ON TABLE legacy_foreign IS
  'Prices of other domains that an import left out, and operators, whose epoch is -1: each once.';

ALTER TABLE quarantine ADD COLUMN operator_id BIGINT, ADD COLUMN path TEXT;
COMMENT ON COLUMN quarantine.path IS 'Where in the row of a legacy source it was found.';

CREATE OR REPLACE VIEW raw_epochs AS
SELECT epochs.epoch, end_block, end_hash, timestamp,
       CASE WHEN normal.epoch IS NULL OR source = 'chain' THEN epochs.data ELSE normal.data END
         AS data,
       coalesce(epochs.domain_id::integer, normal.domain_id) AS domain_id,
       CASE WHEN normal.epoch IS NULL THEN source ELSE coalesce(source, 'legacy') END AS source,
       spec_version, transition_block, transition_hash,
       coalesce(epochs.complete::boolean, normal.complete) AS complete
FROM epochs LEFT JOIN normalized_epochs AS normal ON normal.epoch = epochs.epoch;
COMMENT ON VIEW raw_epochs IS
  'The raw epochs as the pipeline reads them; no source is a row of the old system not yet imported.';

-- The API parses stored JSON, too, and a row read from a node has taken the place of what told prices.
DO $$
BEGIN
  IF to_regrole('operator_prices_reader') IS NOT NULL THEN
    GRANT SELECT ON legacy_prices, legacy_hashes TO operator_prices_reader;
  END IF;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'this user may not grant SELECT on legacy_prices and legacy_hashes, which operator_prices_reader needs';
END
$$;
