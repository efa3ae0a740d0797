"""The code of `docs/adding-a-baseline.md` runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from bench.studies.method import MethodRow
from bench.studies.study import Study
from weakclip.clip.dense import OwnValue
from weakclip.clip.load import load_clip
from weakclip.dense_attention import methods
from weakclip.stages.protocols import Setting

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-baseline.md"
CODE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def module(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the page, importable for the rest of a test."""
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(code, str(PAGE), "exec"), made.__dict__)
    return made


def test_the_file_and_the_study_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, study, _ = CODE
    centre = module("baselines.centre", baseline, monkeypatch)
    setting = Setting(
        clip=load_clip("random-micro"),
        class_names=("dog", "cat"),
        background_words=("grass",),
        device=torch.device("cpu"),
    )
    tags = torch.tensor([[True, False]])
    images = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
    cams = centre.Centre().build(setting).cams(images, tags)
    assert cams.shape == (1, 2, 16, 16)
    assert int(cams[0, 0].argmax()) in (7 * 16 + 7, 7 * 16 + 8, 8 * 16 + 7, 8 * 16 + 8)
    assert not cams[0, 1].any()
    found = module("ablations.centre", study, monkeypatch).STUDY
    assert isinstance(found, Study)
    config = found.variants[0].config
    assert isinstance(config, MethodRow)
    assert config.cam == centre.Centre()


def test_the_value_of_the_page_is_one() -> None:
    names = {**vars(methods), "OwnValue": OwnValue}
    entries = eval(f"{{{CODE[2].strip()}}}", names)
    assert entries["value-only"].change.attention == OwnValue()
    assert entries["value-only"] not in methods.METHODS.values()
