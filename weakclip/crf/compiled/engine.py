"""The compiled engine: lattices and mean field. `weakclip.crf.engine` imports it."""

from weakclip.crf.compiled.lattice import build
from weakclip.crf.compiled.mean_field import infer

__all__ = ["build", "infer"]
