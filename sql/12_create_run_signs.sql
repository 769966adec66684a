-- Signs of life of Dagster's runs: who works on each, and whether it has moved since somebody looked.
-- depends: 11_first_generation

CREATE TABLE run_signs (
  run_id TEXT PRIMARY KEY,
  host TEXT NOT NULL DEFAULT '',
  launcher TEXT NOT NULL DEFAULT '',
  process TEXT NOT NULL DEFAULT '',
  signs BIGINT NOT NULL DEFAULT 0,
  begun_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  given_at TIMESTAMPTZ,
  seen_signs BIGINT NOT NULL DEFAULT 0,
  looked_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  silence INTERVAL NOT NULL DEFAULT '0',
  given_up_at TIMESTAMPTZ
);
COMMENT ON TABLE run_signs IS
  'One row for each run that is at work, and for each that was given up: it may not write any more.';
COMMENT ON COLUMN run_signs.signs IS 'Counted up by the run itself every few seconds.';
COMMENT ON COLUMN run_signs.silence IS
  'For how long signs has been seen not to move; what nobody could look at does not count.';
