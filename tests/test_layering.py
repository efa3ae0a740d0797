"""Imports point down, without circles, and heavy packages stay home."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"weakclip", "baselines", "bench", "ablations"}
MAY_IMPORT = {
    "weakclip": set(),
    "baselines": {"weakclip"},
    "bench": {"weakclip", "baselines"},
    "ablations": {"weakclip", "baselines", "bench"},
}
OPS_MAY_IMPORT = {"torch", "numpy", "weakclip.ops", "weakclip.labels"}
CRF_MAY_IMPORT = OPS_MAY_IMPORT | {"weakclip.crf"}
NUMBA = ("weakclip/crf/compiled/simd.py", "weakclip/crf/compiled/jit.py")
HOMES = {
    "open_clip": ("weakclip/clip/",),
    "timm": ("weakclip/network/encoder.py", "weakclip/convnet/backbone.py"),
    "pandas": ("bench/report/",),
    "matplotlib": ("bench/report/figures/", "weakclip/cli/eval.py"),
    "seaborn": ("bench/report/figures/",),
    "pydantic": ("bench/runs/record.py", "bench/gallery/index.py"),
    "optuna": ("bench/search/", "bench/runs/queue.py"),
    "rich": (
        "bench/console.py",
        "bench/runs/console.py",
        "bench/report/terminal.py",
        "weakclip/cli",
    ),
    "scipy": ("bench/", "weakclip/evaluation/"),
    "cv2": ("bench/cartoon/",),
    "numba": NUMBA,
    "llvmlite": NUMBA,
}
MODULES_A_FOLDER = 17

FILES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


def imports(path: Path) -> set[str]:
    """Full names of all imported modules, wherever in the file the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            whole = {f"{module}.{alias.name}" for alias in node.names}
            names |= whole & MODULES.keys() or {module}
    return names


def concept(module: str) -> str:
    """The sub-package a module belongs to, or itself at the top of `weakclip` and `bench`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in {"weakclip", "bench"} else parts[0]


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
        for folder, may in (("ops", OPS_MAY_IMPORT), ("crf", CRF_MAY_IMPORT)):
            if name.startswith(f"weakclip/{folder}/") and top not in sys.stdlib_module_names:
                allowed = may | {"numba", "llvmlite"} if name in NUMBA else may
                known = any(module == a or module.startswith(a + ".") for a in allowed)
                assert known, f"{name} imports {module}; {folder} needs torch and numpy alone"


def test_no_module_and_no_sub_package_imports_itself_by_a_detour() -> None:
    graphs: tuple[dict[str, set[str]], ...] = ({}, {})
    for module, path in MODULES.items():
        for other in imports(path) & MODULES.keys() - {module}:
            graphs[0].setdefault(module, set()).add(other)
            if concept(other) not in {concept(module), other.split(".")[0]}:
                graphs[1].setdefault(concept(module), set()).add(concept(other))
    for graph in graphs:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(" imports ".join(reversed(error.args[1])))


def test_a_folder_can_be_seen_at_once() -> None:
    folders: dict[Path, int] = {}
    for path in FILES:
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    crowded = {
        folder.relative_to(ROOT).as_posix(): count
        for folder, count in folders.items()
        if count > MODULES_A_FOLDER
    }
    assert not crowded
