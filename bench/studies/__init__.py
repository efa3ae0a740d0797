"""Studies as values: designs, configurations, presets."""
