"""File formats of masks and maps."""
