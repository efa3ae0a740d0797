"""The gates that the embedded world and its CLIP must pass, and the choice of its image size."""
