"""Studies: values only, no algorithms."""
