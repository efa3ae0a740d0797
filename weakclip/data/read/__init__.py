"""Readers of images and tags in all supported layouts."""
