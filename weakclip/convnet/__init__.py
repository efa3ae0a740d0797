"""Networks without CLIP: a timm backbone, CAM of a classifier, the random walk of AffinityNet."""
