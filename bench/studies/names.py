"""Names and questions of the studies. Their modules, which import PyTorch, are not imported."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

from bench.errors import BenchError

STUDIES_PACKAGE = "ablations"
SET = "-set-"
"""Separates the name of a study from the hash of the changes of its preset."""


def known_studies() -> tuple[str, ...]:
    """Names of the studies that can be run, sorted."""
    try:
        package = importlib.import_module(STUDIES_PACKAGE)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"package {STUDIES_PACKAGE!r} not found: the suite runs from the root of a checkout, "
            "as `python -m bench ...`"
        ) from error
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name.replace("_", "-") for name in names if not name.startswith("_")))


def question(name: str) -> str:
    """The question of a study: the first line of the docstring of its module."""
    (folder,) = importlib.import_module(STUDIES_PACKAGE).__path__
    path = Path(folder, load_name(name).replace("-", "_")).with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def load_name(name: str) -> str:
    """The name of a study without the hash of a changed preset.

    Example:
        >>> load_name("components-set-2a3c7d0b")
        'components'
    """
    return name.partition(SET)[0]
