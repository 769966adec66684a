-- Which chain the data is of, what of it could not be understood, and what was left out.
-- depends: 03_update_comprehensive_view

CREATE TABLE chain_identity (
  genesis_hash TEXT NOT NULL,
  domain_id INTEGER NOT NULL,
  pinned_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX chain_identity_is_one ON chain_identity ((true));
COMMENT ON TABLE chain_identity IS
  'The one chain and domain of this database, pinned at the first write; data of another is refused.';

CREATE TABLE quarantine (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  epoch BIGINT,
  block_hash TEXT,
  item TEXT NOT NULL,
  storage_key TEXT,
  spec_version BIGINT,
  raw TEXT,
  reason TEXT NOT NULL,
  source TEXT NOT NULL,
  at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX quarantine_by_epoch ON quarantine (epoch);
COMMENT ON TABLE quarantine IS 'Every value that could not be understood, as it was found, and why.';

CREATE TABLE skipped_epochs (
  epoch BIGINT PRIMARY KEY,
  block BIGINT,
  block_hash TEXT,
  reason TEXT,
  at TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE skipped_epochs IS 'Epochs without a row in epochs for a known reason: not gaps.';
