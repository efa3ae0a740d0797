"""Statistics: intervals, effects and comparisons."""
