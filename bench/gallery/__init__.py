"""Pictures of images, maps, seeds and masks for the report."""
