"""What runs on this machine for a command: Postgres, the development chain, Dagster."""
