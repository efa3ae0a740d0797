"""The names `weakclip` promises; widening the list is a decision, made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

import weakclip
from bench.choices import PRECISIONS, PRESETS
from bench.commands import COMMANDS as BENCH
from bench.studies import preset
from weakclip.cli import crf, maps
from weakclip.cli.flags import crf as crf_flags
from weakclip.cli.flags import eval as eval_flags
from weakclip.cli.flags import maps as maps_flags
from weakclip.cli.flags import retrain as retrain_flags
from weakclip.cli.main import COMMANDS
from weakclip.evaluation.scores import ABSENT
from weakclip.stages.retrain_presets import PRESETS as RETRAININGS
from weakclip.training.execution import Precision

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
SLOW = (
    "torch", "open_clip", "torchvision", "timm", "scipy", "pandas", "matplotlib", "cv2", "numba",
)  # fmt: skip
HEAVY = (*SLOW, "numpy", "PIL", "rich")


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


def started(package: str, *words: str) -> str:
    """Code that carries out `python -m PACKAGE WORDS`."""
    return (
        f"import runpy, sys; sys.argv[1:] = {words}\n"
        f"try: runpy.run_module({package!r}, run_name='__main__')\nexcept SystemExit: pass"
    )


def test_importing_the_package_imports_nothing_heavy() -> None:
    modules = imported_by("import weakclip")
    assert not modules & set(HEAVY)
    assert len(modules - imported_by("")) < 40


@pytest.mark.parametrize(
    ("package", "words"),
    [(package, [flag]) for package in ("weakclip", "bench") for flag in ("--help", "--version")]
    + [("bench", [name, "--help"]) for name in ("list", *BENCH)],
)
def test_help_and_version_import_nothing_heavy(package: str, words: list[str]) -> None:
    modules = imported_by(started(package, *words))
    assert not modules & set(HEAVY)
    assert len(modules) < 250


def test_the_list_of_studies_imports_no_study_and_nothing_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    modules = imported_by(started("bench", "list"))
    assert "bench.listing" in modules
    assert not modules & {*SLOW, "PIL"}
    assert not any(name.startswith("ablations.") for name in modules)
    assert len(modules) < 400


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_imports_nothing_slow(command: str) -> None:
    modules = imported_by(started("weakclip", command, "--help"))
    assert f"weakclip.cli.flags.{command}" in modules
    assert not modules & set(SLOW)
    assert len(modules) < 300


@pytest.mark.parametrize("masks", [False, True])
def test_a_check_of_images_tags_and_masks_imports_nothing_slow(
    tmp_path: Path, *, masks: bool
) -> None:
    (tmp_path / "dog").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "dog" / "a.png")
    words = ["check", str(tmp_path)]
    if masks:
        (tmp_path / "masks" / "dog").mkdir(parents=True)
        Image.new("L", (32, 32), 1).save(tmp_path / "masks" / "dog" / "a.png")
        words += ["--masks", str(tmp_path / "masks")]
    modules = imported_by(started("weakclip", *words))
    assert "weakclip.data.check.checks" in modules
    assert not modules & set(SLOW)


def test_what_help_says_without_looking_is_what_there_is() -> None:
    assert sorted(preset._PRESETS) == list(PRESETS)
    assert get_args(Precision) == PRECISIONS
    assert tuple(crf.PRESETS) == crf_flags.PRESETS
    assert eval_flags.ABSENT == ABSENT
    assert set(maps_flags.SOURCES) == {"clip-es", "cam", *maps.SOURCES}
    assert set(maps_flags.FORMATS) == set(maps.WRITERS)
    assert tuple(RETRAININGS) == retrain_flags.PRESETS
