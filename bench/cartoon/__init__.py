"""CartoonVOC, a procedural data set with exact labels; pretraining of its CLIP and backbone."""
