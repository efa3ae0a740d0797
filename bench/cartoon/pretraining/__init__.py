"""Pretraining of micro-CLIP and micro-backbone on images with captions, and their model card."""
