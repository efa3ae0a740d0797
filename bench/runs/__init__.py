"""Runs: planned, queued, carried out, recorded."""
