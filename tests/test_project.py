"""Files about the project agree with `pyproject.toml`, and what is imported is declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
NAMES = {"pillow": "PIL", "open-clip-torch": "open_clip"}
"""What a distribution is imported as, where that is another name."""


def test_citation_and_changelog_have_the_version() -> None:
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in Path("CITATION.cff").read_text(encoding="utf-8")
    changelog = Path("CHANGELOG.md").read_text(encoding="utf-8")
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{version}] - 20")


def test_pre_commit_has_the_version_of_ruff() -> None:
    (ruff,) = PROJECT["dependency-groups"]["lint"]
    found = re.findall(r"\[(ruff==[\d.]+)\]", Path(".pre-commit-config.yaml").read_text())
    assert found == [ruff, ruff]


def test_what_the_library_imports_is_declared() -> None:
    """The figure of `weakclip eval --figure` alone asks for what is not declared, and says so."""
    extra = PROJECT["project"]["optional-dependencies"]["fast"]
    required = [re.split(r"[<>=\[; ]", text)[0] for text in PROJECT["project"]["dependencies"]]
    optional = [re.split(r"[<>=\[; ]", text)[0] for text in extra]
    plain = [name.lower().replace("_", "-") for name in (*required, *optional)]
    declared = {NAMES.get(name, name.replace("-", "_")) for name in plain}
    declared |= {"weakclip", "llvmlite", "matplotlib"}  # numba brings llvmlite
    imported = {
        name.partition(".")[0]
        for path in Path("weakclip").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _names(node)
    }
    assert imported - declared - set(sys.stdlib_module_names) == set()


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return [node.module]
    return []
