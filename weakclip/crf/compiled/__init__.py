"""The dense CRF by loops that numba compiles; `engine.py` is what the rest of the CRF uses."""
