"""How scenes of CartoonVOC are drawn."""
