"""The frozen CLIP: loading, dense image tower, prompted text tower, names."""
