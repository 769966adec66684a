"""A small database of the old system, with a plain view that calls its function."""

OLD_DATABASE = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY, end_block INTEGER NOT NULL, end_hash TEXT NOT NULL,
  timestamp BIGINT NOT NULL, data JSONB NOT NULL);
CREATE FUNCTION parse_comma_number(text_val text) RETURNS numeric LANGUAGE sql
  AS $$ SELECT replace(text_val, ',', '')::numeric $$;
CREATE VIEW comprehensive_analytics AS
  SELECT epoch, parse_comma_number(data ->> 'stake') AS total_stake_raw FROM epochs;
INSERT INTO epochs SELECT n, n, '0x', n, '{"stake": "5,603,515,738"}'
  FROM generate_series(1, 50) AS n;
"""
