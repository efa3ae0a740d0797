"""Masks or maps against ground truth: pixel counts, scores, and the comparison of two results."""
