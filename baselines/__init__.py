"""The compared methods: sources of maps, refinements and networks, each from its publication."""
