"""Runs of the jobs in this very process: a backfill, a recheck, an import."""
