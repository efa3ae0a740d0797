"""Readers of images and tags in every layout."""
