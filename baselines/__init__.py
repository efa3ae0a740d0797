"""Baselines: published sources of maps, refinements and networks."""
