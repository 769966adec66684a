"""The embedded Postgres of a data directory."""
