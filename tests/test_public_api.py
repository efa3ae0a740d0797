"""The names `weakclip` promises; widening the list is a decision, made here."""

from __future__ import annotations

import subprocess
import sys

import weakclip

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
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    modules = imported_by("import weakclip")
    assert not modules & set(HEAVY)
    assert len(modules - imported_by("")) < 40


def test_the_help_of_the_command_imports_nothing_heavy() -> None:
    code = "from weakclip.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not imported_by(code) & set(HEAVY)
