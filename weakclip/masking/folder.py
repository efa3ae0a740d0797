"""The result folder of a run: where each file lies, and which masks exist.

OUT/masks/a/b.png      palette PNG of the labels, at the size of the image
OUT/preview/a/b.jpg    the image with its mask overlaid
OUT/classes.txt        label and name of each class
OUT/network            the trained WeakCLIP, which `weakclip.load` opens
OUT/masks.json         all masks as COCO RLE
OUT/run.json           how the masks were made, and what failed
OUT/work               maps, seeds and training states for resuming; may be deleted

Every file is written atomically.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from weakclip.data.atomic import replacing, write_text
from weakclip.data.formats.masks import VOC_PALETTE, exists, read_mask, void_border, write_mask
from weakclip.data.formats.rle import write_coco_rle
from weakclip.data.read.names import output_stems
from weakclip.labels import BACKGROUND
from weakclip.masking.predict import WEIGHTS, write_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.masking.plan import MaskPlan
    from weakclip.stages.network import TrainedWeakCLIP

KEYS = "images.json"
TRAINING = "training.json"
_OPACITY = 0.55  # of a mask in a preview


class ResultFolder:
    """The files of one run."""

    def __init__(self, root: Path, files: TaggedFiles) -> None:
        """Derive the file names; nothing is written yet.

        Raises:
            ValueError: If `root` is a file, or lies inside the image folder, where the next run
                would take its previews and masks for images.
        """
        if root.exists() and not root.is_dir():
            raise ValueError(f"{root}: expected a folder for the results, got a file")
        if root.resolve().is_relative_to(files.root.resolve()):
            raise ValueError(
                f"{root}: lies in the folder of the images, so that its previews would be images "
                "of the next run; choose a folder next to it"
            )
        self.root = root
        self._stems = output_stems(files.names)

    @property
    def network(self) -> Path:
        """The weight file of the trained network."""
        return self.root / "network" / WEIGHTS

    @property
    def work(self) -> Path:
        """Folder of the files from which an interrupted run is resumed."""
        return self.root / "work"

    def mask(self, index: int) -> Path:
        """The mask file of an image."""
        return self.root / "masks" / f"{self._stems[index]}.png"

    def preview(self, index: int) -> Path:
        """The preview file of an image."""
        return self.root / "preview" / f"{self._stems[index]}.jpg"

    def write(self, index: int, labels: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
        """Write preview and mask. The mask is last, so an image with a mask is complete.

        `labels` are (H, W), uint8; the image is (h, w, 3), uint8, at any size.
        """
        write_preview(self.preview(index), labels, image)
        write_labels(self.mask(index), labels)

    def write_network(
        self,
        trained: TrainedWeakCLIP,
        plan: MaskPlan,
        files: TaggedFiles,
        training: dict[str, Any],
    ) -> None:
        """Write a network with its settings and the record of its training."""
        self.network.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.network.parent / TRAINING, json.dumps(training, indent=1) + "\n")
        write_network(self.network.parent, trained, plan, files.classes)

    def read_training(self) -> dict[str, Any] | None:
        """The record of the network's training; None if there is none."""
        return _read_object(self.network.parent / TRAINING) or None

    def read_keys(self) -> dict[str, str]:
        """For each processed image, the key of its file and tags."""
        return {str(name): str(key) for name, key in _read_object(self.work / KEYS).items()}

    def write_keys(self, keys: dict[str, str]) -> None:
        """Write the keys for `read_keys`."""
        self.work.mkdir(parents=True, exist_ok=True)
        write_text(self.work / KEYS, json.dumps(keys) + "\n")

    def write_list(self, files: TaggedFiles) -> int:
        """Write all masks to `masks.json` and the classes to `classes.txt`; number of regions."""

        def masks() -> Iterator[tuple[str, NDArray[np.uint8]]]:
            for index, name in enumerate(files.names):
                if exists(self.mask(index)):
                    yield name, read_mask(self.mask(index))

        names = ("background", *files.classes)
        legend = "".join(f"{label} {name}\n" for label, name in enumerate(names))
        write_text(self.root / "classes.txt", legend)
        return write_coco_rle(self.root / "masks.json", masks(), files.classes)

    def read_run(self) -> dict[str, Any] | None:
        """Content of `run.json`; None if there is no such file.

        Raises:
            ValueError: If it is damaged.
        """
        path = self.root / "run.json"
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path}: damaged ({error}); choose another folder") from error
        if not isinstance(content, dict):
            raise ValueError(
                f"{path}: damaged (expected a JSON object, got {type(content).__name__}); choose "
                "another folder"
            )
        return content

    def write_run(self, content: dict[str, Any]) -> None:
        """Write `run.json`; make the folder if needed."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_text(self.root / "run.json", json.dumps(content, indent=1) + "\n")


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file; empty if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map (H, W), uint8, as a palette PNG; make its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, labels)


def write_preview(path: Path, labels: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    """Write an image (h, w, 3), uint8, overlaid with a label map (H, W), uint8, as JPEG.

    The preview has the aspect ratio of the label map and the longer side of the image. Classes
    are tinted in their palette colours and outlined in white.
    """
    scale = max(image.shape[:2]) / max(labels.shape)
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    small = np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    mixed = (1 - _OPACITY) * image + _OPACITY * VOC_PALETTE[small]
    mixed[void_border(small) & (small != BACKGROUND)] = 255
    shown = np.where((small != BACKGROUND)[..., None], mixed, image).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(shown).save(temporary, format="JPEG", quality=90)
