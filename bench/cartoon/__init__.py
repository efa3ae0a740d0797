"""CartoonVOC, a procedural data set with exact labels, and micro-CLIP, pretrained on it."""
