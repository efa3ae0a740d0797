"""A contact sheet of scenes with their ground truth, for visual inspection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.cartoon.sample import sample_scene
from weakclip.data.atomic import replacing
from weakclip.data.formats.masks import VOC_PALETTE
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.cartoon.world import Scene, WorldConfig

_ROWS, _COLUMNS = 6, 4
_MARGIN = 4  # white pixels between pairs
_SHEET_COLOURS = 192


def contact_sheet(config: WorldConfig, *, seed: int) -> NDArray[np.uint8]:
    """24 scenes, each next to the same scene overlaid with its ground truth.

    The leading classes of the first 20 are VOC's classes in order; the last four are drawn freely.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    pairs = []
    for i in range(_ROWS * _COLUMNS):
        classes = (i,) if i < len(VOC_CLASSES) else ()
        pairs.append(_pair(sample_scene(config, seed, i, classes=classes)))
    rows = [np.concatenate(pairs[r : r + _COLUMNS], axis=1) for r in range(0, len(pairs), _COLUMNS)]
    return np.concatenate(rows)


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Save a sheet, (H, W, 3) uint8 RGB, as a PNG of 192 colours (a seventh of the full size)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(sheet).quantize(_SHEET_COLOURS, kmeans=1, dither=Image.Dither.NONE)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", optimize=True)


def _pair(scene: Scene) -> NDArray[np.uint8]:
    truth = VOC_PALETTE[scene.gt_mask()].astype(np.float32)
    overlay = (0.35 * scene.image + 0.65 * truth).astype(np.uint8)
    pair = np.concatenate([scene.image, overlay], axis=1)
    border = ((0, _MARGIN), (0, _MARGIN), (0, 0))
    return np.pad(pair, border, constant_values=255)
