"""A standard segmentation network trained on masks: networks, crops, losses, schedule, loop."""
