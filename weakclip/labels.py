"""The label values of background and void, defined once."""

from __future__ import annotations

BACKGROUND = 0
"""Label of background pixels; foreground class c of a data set (0-based) has label c + 1."""

IGNORE = 255
"""Label of undecided or void pixels; excluded from losses and from scores."""

MOST_CLASSES = IGNORE - 1
"""Largest number of foreground classes: labels 1 to 254."""
