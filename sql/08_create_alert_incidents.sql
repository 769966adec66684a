-- What is wrong, since when, whom it was told to, and when it was over.
-- depends: 04_create_chain_tables

CREATE TABLE alert_incidents (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key TEXT NOT NULL,
  what TEXT NOT NULL,
  place TEXT NOT NULL,
  link TEXT NOT NULL,
  opened_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  told_at TIMESTAMPTZ,
  recovered_at TIMESTAMPTZ,
  recovery_told_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX alert_incidents_open ON alert_incidents (key) WHERE recovered_at IS NULL;
CREATE INDEX alert_incidents_untold ON alert_incidents (id)
  WHERE told_at IS NULL OR (recovered_at IS NOT NULL AND recovery_told_at IS NULL);
COMMENT ON TABLE alert_incidents IS
  'Every trouble that the alerts report: one row from its beginning to its end.';
