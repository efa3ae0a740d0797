"""The stages from images and tags to masks: maps, seeds, refinement, retraining."""
