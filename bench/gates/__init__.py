"""The gates that the embedded data set and its CLIP must pass, and the choice of its image size."""
