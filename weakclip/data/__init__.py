"""Readers and writers of data sets, masks and images."""
