"""Map files of other programs as a source of maps, checked against the images."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from weakclip.data.check.finding import Finding, Kind
from weakclip.data.formats.ids import NamedFiles
from weakclip.data.formats.maps import (
    ARRAYS,
    FORMATS,
    SUFFIXES,
    Grid,
    layout_of,
    read_content,
    read_maps,
)
from weakclip.data.formats.problems import KINDS, MISSING, SEVERAL, SURPLUS, UNREADABLE, problems
from weakclip.data.read.coco import COCO_CATEGORIES
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.data.formats.image_maps import ImageMaps
    from weakclip.data.read.instances import Numbering

_EMPTY_STRIDE = 16  # grid of the zero maps of an image without tags and file
_CONTIGUOUS = {category: rank for rank, category in enumerate(sorted(COCO_CATEGORIES), start=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFiles:
    """A folder of maps, one file per image."""

    folder: Path
    format: str = "auto"
    """One of `weakclip.data.formats.maps.FORMATS`, or `auto`: detected from the files."""
    grid: Grid = "image"
    """`coarse`: use irn's `cam` instead of `high_res`; a sixteenth of the memory."""
    scale: Literal["keep", "max"] = "keep"
    """`max`: negative values become 0 and each map is divided by its maximum."""
    numbering: Numbering = "contiguous"
    """`original`: the files use COCO's category ids as labels (WeakTr), the data set does not."""

    def __post_init__(self) -> None:
        if self.format not in (*FORMATS, "auto"):
            raise ValueError(
                f"unknown format {self.format!r}; {suggestion(self.format, [*FORMATS, 'auto'])}"
            )

    def read(self, image_id: str, image_labels: Tensor, size: tuple[int, int]) -> Tensor:
        """The maps of one image, on the grid of its file.

        Args:
            image_id: Path of the image relative to its folder; the suffix is ignored, and COCO's
                names may have any of their forms.
            image_labels: Image-level tags, (F,), bool.
            size: (H, W) of the image.

        Returns:
            (F, h, w), float32, in [0, 1]; 0 for classes that are not tagged or have no map.

        Raises:
            FileNotFoundError: If there is no such folder, or no file of a tagged image.
            ValueError: If `check` would report a finding that breaks a run.
        """
        path = self.files().find(image_id)
        if path is None:
            if image_labels.any():
                raise FileNotFoundError(f"{self.folder}: no maps of {image_id}; {MISSING.fix}")
            height, width = (-(-side // _EMPTY_STRIDE) for side in size)
            return torch.zeros(len(image_labels), height, width)
        labels, maps = self.load(path)
        maps = maps.as_probabilities()
        for kind, text in problems(labels, maps, image_labels, size):
            if kind.severity == "breaks":
                raise ValueError(f"{path}: {kind.what}: {text}; {kind.fix}")
        cams = torch.zeros(len(image_labels), *maps.shape)
        for label, one in zip(labels, maps.maps, strict=True):
            if bool(image_labels[label - 1]):
                cams[label - 1] = torch.from_numpy(one).clamp(0, 1)
        return cams

    def check(
        self, names: Sequence[str], image_labels: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[Finding]:
        """Problems of the maps of N images with tags (N, F) and sizes (H, W), read one at a time.

        Returns:
            One finding per kind, in the order of severity; empty if there are none.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it contains no map file.
        """
        files = self.files()
        affected: dict[Kind, list[str]] = defaultdict(list)
        affected[SURPLUS] = list(files.surplus(names))
        owners: dict[Path, str] = {}
        for name, tags, size in zip(names, image_labels, sizes, strict=True):
            try:
                path = files.find(name)
                if path is not None and owners.setdefault(path, name) != name:
                    raise ValueError(f"{path.name} is also that of {owners[path]}")
            except ValueError as error:
                affected[SEVERAL].append(f"{name}: {error}")
                continue
            if path is None:
                if tags.any():
                    affected[MISSING].append(name)
                continue
            try:
                labels, maps = self.load(path)
            except ValueError as error:
                affected[UNREADABLE].append(str(error))
                continue
            for kind, text in problems(labels, maps.as_probabilities(), tags, size):
                affected[kind].append(f"{name}: {text}")
        return [
            Finding(kind=kind, affected=tuple(affected[kind])) for kind in KINDS if affected[kind]
        ]

    def files(self) -> NamedFiles:
        """The files of the folder; listed again only if the folder has changed.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it contains no map file.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder of maps")
        return _listed(self.folder, self.folder.stat().st_mtime_ns)

    def load(self, path: Path) -> tuple[tuple[int, ...], ImageMaps]:
        """The unchecked content of a file.

        Returns:
            K labels in the numbering of the data set, 0 for a category that it does not have, and
            K maps.

        Raises:
            ValueError: If the file is damaged, unsafe or of another format.
        """
        layout = _layout(self.files()) if self.format == "auto" else self.format
        maps = read_maps(path, layout, grid=self.grid)
        if self.scale == "max":
            maps = replace(maps, maps=_scaled(maps.maps))
        if self.numbering == "contiguous":
            return maps.labels, maps
        return tuple(_CONTIGUOUS.get(label, 0) for label in maps.labels), maps


@lru_cache(maxsize=4)
def _listed(folder: Path, changed: int) -> NamedFiles:
    """The files of a folder, cached until the folder changes."""
    return NamedFiles.of(folder, ARRAYS if holds_arrays(folder) else SUFFIXES)


def holds_arrays(folder: Path) -> bool:
    """Whether a folder contains arrays; PNGs among them are pictures of maps and not seeds."""
    return any(path.suffix.lower() in ARRAYS for path in folder.rglob("*"))


@lru_cache(maxsize=4)
def _layout(files: NamedFiles) -> str:
    """The format of a folder: that of the first file with an unambiguous one, else `auto`."""
    for paths in files.by_name.values():
        with suppress(ValueError):
            layout = layout_of(read_content(paths[0]))
            if layout is not None:
                return layout
    return "auto"


def _scaled(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps without negative values, divided by their maximum; 0 if there is no positive value."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float32] = np.divide(
        positive, highest, out=np.zeros_like(positive), where=highest > 0
    )
    return scaled
