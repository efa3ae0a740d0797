"""The second cartoon world: many kinds of things, many styles, and dials for its difficulty."""
