"""Masks and lists built from the official files of a data set."""
