"""Modules of an extra that is not installed are not searched for doctests."""

from __future__ import annotations

from importlib.util import find_spec

NEED_NUMBA = ("mean_field_kernels", "mean_field_loops", "permutohedral_loops", "simd")

collect_ignore = [] if find_spec("numba") else [f"weakclip/ops/{name}.py" for name in NEED_NUMBA]
