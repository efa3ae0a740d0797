"""Speed of parts against other implementations, side by side."""
