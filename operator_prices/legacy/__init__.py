"""The old system's snapshots: read from where they are, understood, and kept beside our own."""
