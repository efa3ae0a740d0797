from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures of noise, with tags."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, size in (("a.jpg", (70, 90)), ("sub/b.png", (90, 70))):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "labels.csv").write_text("file,labels\na.jpg,dog\nsub/b.png,cat;dog\n")
    return folder
