"""The API and the dashboard: what the pipeline keeps, published; knows no Dagster and no Polars."""
