"""The dense CRF: one function, computed by torch or by compiled loops."""
