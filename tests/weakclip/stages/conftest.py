"""A few small images with tags, and a plan that takes a second."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.clip.load import load_clip
from weakclip.config import MICRO, SeedAndBoundary
from weakclip.stages.plan import MaskPlan, SeededTraining, plan_for
from weakclip.training.recipe import Recipe
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.clip.bundle import CLIPBundle

CLIP = load_clip("random-micro")
LABELS = """file,labels
a.jpg,dog
sub/b c.png,cat;person
sub/ü.png,dog
"""


def picture(path: Path, size: tuple[int, int], seed: int = 0) -> None:
    """An image file of (H, W) with coarse random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC)
    image.save(path, quality=95)


@pytest.fixture
def clip() -> CLIPBundle:
    return CLIP


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/{a.jpg, sub/b c.png, sub/ü.png} of three sizes, and photos/labels.csv."""
    folder = tmp_path / "photos"
    picture(folder / "a.jpg", (90, 130))
    picture(folder / "sub" / "b c.png", (64, 80), seed=1)
    picture(folder / "sub" / "ü.png", (90, 130), seed=2)
    (folder / "labels.csv").write_text(LABELS, encoding="utf-8")
    return folder


@pytest.fixture
def quick() -> MaskPlan:
    """WeakCLIP with three steps of two small views."""
    plan = plan_for(CLIP, "weakclip")
    method = plan.method
    assert isinstance(method, SeededTraining)
    method = replace(
        method,
        recipe=Recipe(iterations=3, batch_size=2, learning_rate=1e-3, warmup=1),
        framing=Framing(size=64),
        config=replace(MICRO, supervision=SeedAndBoundary(grid=16)),
        tile=64,
    )
    return replace(plan, method=method, max_side=96)
