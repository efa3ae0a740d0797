"""Figures, drawn from CSV files alone."""
