"""Checks of a data set before it is used."""
