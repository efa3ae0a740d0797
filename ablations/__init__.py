"""Studies. They are values only, without algorithms."""
