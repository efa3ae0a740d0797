"""Pretraining of micro-CLIP, its gates and its model card."""
