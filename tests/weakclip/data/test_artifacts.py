"""The names of products: what changes them, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weakclip.data import artifacts

if TYPE_CHECKING:
    from pathlib import Path

STAGE = '''"""A stage."""
from typing import TYPE_CHECKING
from bench.helper import double
if TYPE_CHECKING:
    from bench.page import Page
class Stage:
    """Scales."""
    factor: int = 2
    """How much."""
    def scaled(self, value):
        """The value, scaled."""
        return self.factor * double(value)  # four times
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three modules in the place of this project's."""
    sources = {"stage": STAGE, "helper": "def double(x):\n    return 2 * x\n", "page": "A = 1\n"}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)

    def source_of(module: str) -> Path | None:
        path = tmp_path / f"{module.removeprefix('bench.')}.py"
        return path if path.is_file() else None

    monkeypatch.setattr(artifacts, "_source", source_of)
    return tmp_path


def code() -> str:
    artifacts.code_id.cache_clear()
    artifacts._code.cache_clear()
    return artifacts.code_id("bench.stage")


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("stage", '"""Scales."""', '"""Multiplies by a factor."""', False),
        ("stage", '    """How much."""\n', "", False),
        ("stage", '"""A stage."""\n', '"""A stage.\n\nOf two lines.\n"""\n\n', False),
        ("page", "A = 1", "A = 2", False),  # imported for types alone
        ("stage", "factor: int = 2", "factor: int = 3", True),
        ("helper", "2 * x", "x + x", True),
        ("stage", "self.factor * double(value)", '"a string that is a value"', True),
    ],
)
def test_the_code_of_a_stage_is_what_it_does(
    folder: Path, name: str, old: str, new: str, changes: bool
) -> None:
    before = code()
    path = folder / f"{name}.py"
    changed = path.read_text().replace(old, new)
    assert changed != path.read_text()
    path.write_text(changed)
    assert (code() != before) is changes
