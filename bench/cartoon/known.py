"""Groups of pixels that CartoonVOC's labels define: stuff, parts, objects and their occlusion."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.formats.masks import read_mask
from weakclip.evaluation.causes import BOTH, OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_STATES = (OTHER, "whole objects", "occluded objects")
_NUMBERS = ("no object", "1 object", "2 objects", "3 or more objects")


class KnownScenes:
    """Views of a CartoonVOC on disk, for a diagnosis."""

    def __init__(self, root: Path) -> None:
        """Open a data set; use `found` to test whether a folder has one."""
        self._root = root
        world = json.loads((root / "CartoonVOC" / "world.json").read_text(encoding="utf-8"))
        self._stuff = len(world["stuff"])
        self.views: Mapping[str, tuple[str, ...]] = {
            "shows": (
                OTHER,
                *(f"stuff: {name}" for name in world["stuff"]),
                *(f"part: {name}" for name in world["parts"]),
            ),
            BOTH.join(("occlusion", "objects")): tuple(
                f"{state}{BOTH}images of {number}" for number in _NUMBERS for state in _STATES
            ),
        }
        """Name -> names of the groups; see `weakclip.evaluation.causes.separate`."""

    @staticmethod
    def found(root: Path) -> bool:
        """Whether a folder is a CartoonVOC."""
        return (root / "CartoonVOC" / "world.json").is_file()

    def groups(self, name: str) -> dict[str, NDArray[np.uint8]]:
        """View -> group of each pixel of an image, (H, W).

        Args:
            name: Name of its files, without suffix.
        """
        side = self._root / "CartoonVOC"
        stuff = read_mask(side / "StuffMap" / f"{name}.png")
        parts = read_mask(side / "PartMap" / f"{name}.png")
        objects = read_mask(self._root / "SegmentationObject" / f"{name}.png")
        occluded = self._occluded[name]
        states = np.zeros(256, dtype=np.uint8)  # 255, the void between objects, is no object
        states[1 : 1 + len(occluded)] = [1 + hidden for hidden in occluded]
        number = min(len(occluded), len(_NUMBERS) - 1)
        known = (
            np.where(parts > 0, self._stuff + parts, stuff),
            len(_STATES) * number + states[objects],
        )
        return dict(zip(self.views, known, strict=True))

    @cached_property
    def _occluded(self) -> dict[str, list[bool]]:
        """Image -> whether each object of its annotation is occluded."""
        text = (self._root / "CartoonVOC" / "instances.jsonl").read_text(encoding="utf-8")
        return {
            scene["image_id"]: [
                bool(one["occluded"]) for one in scene["instances"] if one["object"] is not None
            ]
            for scene in map(json.loads, text.splitlines())
        }
