"""Oracles: code that uses the pixel annotation on purpose, mostly for seeds made from it."""
