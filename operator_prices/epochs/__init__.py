"""What an epoch is, as data: Polars in, Polars out, no I/O."""
