"""CartoonVOC 2: many kinds of objects, many styles, and parameters for its difficulty."""
