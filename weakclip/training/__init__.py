"""Training: loop, losses, views of images, resuming, and several processes."""
