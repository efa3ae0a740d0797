"""A random data set of labels, and other people's arithmetic, written down again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weakclip.data.formats.masks import write_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Masks = dict[str, NDArray[np.uint8]]

CLASSES = ("cat", "dog", "bird", "ship")


@pytest.fixture
def toy() -> Path:
    return Path(__file__).parents[2] / "data" / "interop" / "toy"


def random_masks(seed: int, *, void: float, shift: int = 0) -> Masks:
    """Twelve label maps of blocks, of several sizes, labels 0 to 3 (ship never occurs)."""
    generator, masks = np.random.default_rng(seed), {}
    for index in range(12):
        height, width = 20 + index, 31 - index
        blocks = generator.integers(0, 4, (-(-height // 5), -(-width // 5)), dtype=np.uint8)
        mask = blocks.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]
        noise = np.random.default_rng(seed + 99 + shift).random(mask.shape)
        mask = np.where(noise < 0.1, np.uint8(shift % 4), mask)
        masks[f"{index:03d}"] = np.where(noise > 1 - void, np.uint8(255), mask)
    return masks


@pytest.fixture
def truth() -> Masks:
    return random_masks(0, void=0.1)


@pytest.fixture
def predicted() -> Masks:
    return random_masks(0, void=0.05, shift=1)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, Masks], Path]:
    """Writes masks to a folder of a name."""

    def write(name: str, masks: Masks) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for stem, mask in masks.items():
            write_mask(folder / f"{stem}.png", mask)
        return folder

    return write
