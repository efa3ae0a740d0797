"""Modules of an extra that is not installed are not searched for doctests."""

from __future__ import annotations

from importlib.util import find_spec

NEED_NUMBA = ["weakclip/crf/compiled/*.py"]

collect_ignore_glob = [] if find_spec("numba") else NEED_NUMBA
