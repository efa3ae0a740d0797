"""The names `weakclip` promises; widening the list is a decision, made here."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import pytest
from PIL import Image

import weakclip
from bench.choices import PRECISIONS, PRESETS
from bench.studies import preset
from weakclip.training.execution import Precision

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = (
    "Method",
    "dense_crf_inference",
    "evaluate",
    "list_clips",
    "list_folder",
    "load",
    "load_clip",
    "make_masks",
    "plan_for",
    "pseudo_mask",
    "retrain",
)
HEAVY = ("torch", "open_clip", "torchvision", "timm", "scipy", "numpy", "PIL", "rich")


def test_the_package_exports_what_is_promised_and_nothing_else() -> None:
    assert tuple(weakclip.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(weakclip, name).__name__ == name
        assert getattr(weakclip, name).__doc__
    assert set(PUBLIC) <= set(dir(weakclip))
    assert not hasattr(weakclip, "no_such_name")


def imported_by(code: str) -> set[str]:
    """Names of the modules that a fresh process has after some code."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())  # what the code printed stands before


def test_importing_the_package_imports_nothing_heavy() -> None:
    modules = imported_by("import weakclip")
    assert not modules & set(HEAVY)
    assert len(modules - imported_by("")) < 40


@pytest.mark.parametrize("package", ["weakclip", "bench"])
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_of_the_commands_import_nothing_heavy(package: str, flag: str) -> None:
    code = (
        f"import runpy, sys; sys.argv[1:] = [{flag!r}]\n"
        f"try: runpy.run_module({package!r}, run_name='__main__')\nexcept SystemExit: pass"
    )
    assert not imported_by(code) & set(HEAVY)


@pytest.mark.parametrize("words", [["--help"], ["FOLDER"]])
def test_a_check_imports_no_clip(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "dog" / "a.png")
    given = [str(tmp_path) if word == "FOLDER" else word for word in words]
    code = (
        "from weakclip.cli.main import main\n"
        f"try: main(['check', *{given}])\nexcept SystemExit: pass"
    )
    assert not imported_by(code) & {"open_clip", "torchvision", "timm", "scipy"}


def test_what_help_says_without_looking_is_what_there_is() -> None:
    assert sorted(preset._PRESETS) == list(PRESETS)
    assert get_args(Precision) == PRECISIONS
