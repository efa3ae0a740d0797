"""The Python of the README works; its commands: `test_documented_commands.py`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from weakclip.training.recipe import Recipe

if TYPE_CHECKING:
    import pytest

README = Path("README.md").read_text()


def test_the_lines_of_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    # The same lines with the embedded CLIP and two training steps, so that they take seconds.
    block = block.replace("ViT-B-16/openai", "micro")
    monkeypatch.setattr("weakclip.masking.plan.MICRO_RECIPE", Recipe(iterations=2, batch_size=2))
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(noise).save(tmp_path / "photos" / name)
    (tmp_path / "labels.csv").write_text("file,labels\na.jpg,cat\nb.jpg,dog;sofa\n")
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert capsys.readouterr().out.strip() == "2 () True"
    assert len(list((tmp_path / "masks" / "masks").glob("*.png"))) == 2


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 120
