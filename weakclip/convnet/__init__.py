"""Methods without CLIP: a timm backbone, CAM of a classifier, and AffinityNet's random walk."""
