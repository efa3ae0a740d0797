"""Imports point down, and heavy packages stay home."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"weakclip", "baselines", "bench", "ablations"}
MAY_IMPORT = {
    "weakclip": set(),
    "baselines": {"weakclip"},
    "bench": {"weakclip"},
    "ablations": {"weakclip", "baselines", "bench"},
}
OPS_MAY_IMPORT = {"torch", "numpy", "weakclip.ops", "weakclip.labels"}
LOOPS_MAY_IMPORT = OPS_MAY_IMPORT | {"numba", "llvmlite"}  # the rest of `ops` does without
HOMES = {
    "open_clip": ("weakclip/clip/",),
    "timm": ("weakclip/clip/", "weakclip/retrain", "baselines/", "bench/cam_subjects.py"),
    "pandas": ("bench/table.py", "bench/figure.py", "bench/figure_"),
    "matplotlib": ("bench/figure.py", "bench/figure_"),
    "seaborn": ("bench/figure.py", "bench/figure_"),
    "optuna": ("bench/sweep.py", "bench/queue.py"),
    "rich": ("bench/console.py", "weakclip/cli"),
    "scipy": ("bench/", "weakclip/data/sbd.py"),
    "cv2": ("bench/cartoon/",),
    "numba": ("weakclip/ops/simd.py",),
    "llvmlite": ("weakclip/ops/simd.py",),
}
"""Figures read their CSV with pandas; `bench/figure.py` and `bench/figure_*.py` draw."""

FILES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of all imported modules, wherever in the file the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down_and_heavy_packages_stay_home(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    package = name.split("/")[0]
    for module in imports(path):
        top = module.split(".")[0]
        if top in OURS - {package}:
            assert top in MAY_IMPORT[package], f"{name} imports {module}"
        if top in HOMES:
            assert name.startswith(HOMES[top]), f"{name} imports {module}"
        if name.startswith("weakclip/ops/") and top not in sys.stdlib_module_names:
            may = LOOPS_MAY_IMPORT if name in HOMES["numba"] else OPS_MAY_IMPORT
            allowed = any(module == a or module.startswith(a + ".") for a in may)
            assert allowed, f"{name} imports {module}; ops need torch and numpy alone"
