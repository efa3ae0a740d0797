"""WeakCLIP: image-level labels to pixel masks with a frozen CLIP."""
