"""What the API asks Postgres: documents and rows by COPY, in chunks that Postgres puts together."""
