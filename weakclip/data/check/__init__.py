"""Checks of a data set before time is spent on it."""
