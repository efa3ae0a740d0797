"""The dense CRF, computed by torch's operators or by compiled loops."""
