"""The folder of results: where each file lies, what is there already, whole files only.

OUT/masks/a/b.png      palette PNG of the labels, at the size of the image
OUT/preview/a/b.jpg    the image with its mask laid over it, for a look
OUT/seeds/a/b.png      what WeakCLIP was trained on; 255 = undecided
OUT/model.safetensors  the trained WeakCLIP
OUT/masks.json         all masks as COCO RLE
OUT/run.json           how the masks were made, and what failed
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from weakclip.data.atomic import replacing, write_text
from weakclip.data.formats.masks import VOC_PALETTE, read_mask, void_border, write_mask
from weakclip.data.formats.rle import write_coco_rle
from weakclip.labels import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from weakclip.data.read.tagged import TaggedFiles

_OPACITY = 0.55  # of a mask in a preview


class ResultFolder:
    """Files of one run."""

    def __init__(self, root: Path, files: TaggedFiles) -> None:
        """Name the files; nothing is written yet.

        Raises:
            ValueError: If `root` is a file, or lies among the images, where masks would be taken
                for images by the next run.
        """
        if root.exists() and not root.is_dir():
            raise ValueError(f"{root}: expected a folder for the results, got a file")
        if root.resolve().is_relative_to(files.root.resolve()):
            raise ValueError(
                f"{root}: lies in the folder of the images, so that its previews would be images "
                "of the next run; choose a folder beside it"
            )
        self.root = root
        self._stems = _stems(files.names)

    @property
    def model(self) -> Path:
        """Weights of the trained network."""
        return self.root / "model.safetensors"

    def training(self, batch_size: int) -> Path:
        """State of a training with batches of this size that was interrupted."""
        return self.root / f"training-{batch_size}.state"

    def mask(self, index: int) -> Path:
        """The mask of an image."""
        return self.root / "masks" / f"{self._stems[index]}.png"

    def seeds(self, index: int) -> Path:
        """The seed labels of an image."""
        return self.root / "seeds" / f"{self._stems[index]}.png"

    def preview(self, index: int) -> Path:
        """The picture for people."""
        return self.root / "preview" / f"{self._stems[index]}.jpg"

    def write(self, index: int, labels: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
        """Write preview and mask; the mask comes last, so an image that has one is done.

        Args:
            index: Of the image.
            labels: (H, W) uint8.
            image: The image at any size, (h, w, 3) uint8.
        """
        write_preview(self.preview(index), labels, image)
        write_labels(self.mask(index), labels)

    def write_list(self, files: TaggedFiles) -> int:
        """Write `masks.json` of all masks that are there; returns how many regions it holds."""

        def masks() -> Iterator[tuple[str, NDArray[np.uint8]]]:
            for index, name in enumerate(files.names):
                if self.mask(index).is_file():
                    yield name, read_mask(self.mask(index))

        return write_coco_rle(self.root / "masks.json", masks(), files.classes)

    def read_run(self) -> dict[str, Any] | None:
        """What `run.json` says; None if there is none.

        Raises:
            ValueError: If it is damaged.
        """
        path = self.root / "run.json"
        if not path.is_file():
            return None
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: damaged ({error}); choose another folder") from error
        return content

    def write_run(self, content: dict[str, Any]) -> None:
        """Write `run.json`, and the folder if it is not there."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_text(self.root / "run.json", json.dumps(content, indent=1) + "\n")


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map (H, W), uint8, as a palette PNG, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, labels)


def write_preview(path: Path, labels: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    """Write an image (h, w, 3), uint8, with a label map (H, W), uint8, laid over it, as JPEG.

    Classes are tinted in their colours of the palette, their outlines are white.
    """
    height, width = image.shape[:2]
    resized = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    small = np.asarray(resized)
    mixed = (1 - _OPACITY) * image + _OPACITY * VOC_PALETTE[small]
    mixed[void_border(small) & (small != BACKGROUND)] = 255
    shown = np.where((small != BACKGROUND)[..., None], mixed, image).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(shown).save(temporary, format="JPEG", quality=90)


def _stems(names: Sequence[str]) -> tuple[str, ...]:
    """Paths without suffix; with it where two images differ in nothing else.

    Example:
        >>> _stems(("a/x.jpg", "b/x.jpg", "b/X.png"))
        ('a/x', 'b/x.jpg', 'b/X.png')
    """
    bare = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    count = Counter(stem.casefold() for stem in bare)
    stems = tuple(
        name if count[stem.casefold()] > 1 else stem for name, stem in zip(names, bare, strict=True)
    )
    return stems if len(set(stems)) == len(stems) else tuple(names)
