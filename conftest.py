"""Modules of an extra that is not installed are not searched for doctests."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("numba") else ["weakclip/ops/permutohedral_loops.py"]
