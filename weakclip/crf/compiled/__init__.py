"""The dense CRF by loops compiled with numba; `engine.py` is the interface for other modules."""
