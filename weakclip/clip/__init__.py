"""The frozen CLIP: loading, image tower for dense features, text tower for prompts, class names."""
