"""CartoonVOC: a procedural, exactly labelled world, and micro-CLIP, pretrained on it."""
