"""Training: the loop, losses, views of images, resuming, several processes."""
