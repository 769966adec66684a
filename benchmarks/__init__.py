"""Programs that print figures, each beside its target or a baseline of the same run."""
