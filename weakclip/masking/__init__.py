"""Masks of one image, of a folder, or of images without tags, and retraining on masks."""
