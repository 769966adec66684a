"""The embedded chain for trying and testing; it knows nothing of the rest."""
