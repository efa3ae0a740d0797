"""Masks or maps against ground truth: pixels counted, scores formed, two results compared."""
