"""The tasks of the presets: what a run trains and scores."""
