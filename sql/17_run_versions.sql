-- Which version of this package works on a run: workers may have another one than the code server.
-- depends: 13_create_nominators

ALTER TABLE run_signs ADD COLUMN version TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN run_signs.version IS 'Of operator-prices, as the worker of the run has it.';
