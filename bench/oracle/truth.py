"""Maps made from the annotated masks of the training images, with known errors: an oracle.

The effect of a refinement depends on the errors of its seeds. These maps have known errors
(`bench/oracle/corruption.py`). They are written as files, like any ready-made maps, so that only
this module uses the annotation.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.oracle.corruption import Corruption, corrupted
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.write_maps import write_maps
from weakclip.data.read.images import read_rgb
from weakclip.description import describe
from weakclip.training.parallel import together

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.stages.images import WorkingImages
    from weakclip.stages.protocols import Setting

CONFIDENCE = 0.7
"""Value of a map where the seeds have its class; elsewhere it is 1 minus this. Dense CRFs commonly
assume the same confidence of labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleTruth:
    """The annotation with one kind of error; a `weakclip.stages.maps.WrittenMaps`.

    With background `Power(alpha=1)` the score is `CONFIDENCE` for the label of a pixel and
    1 - `CONFIDENCE` for other labels. With `OtsuBand` the seeds equal the corrupted masks.
    """

    corruption: Corruption = "parts"
    strength: float = 0.0
    draw: int = 0
    """Random seed of the errors. It does not change with the seed of a training."""

    def written(self, setting: Setting, data: WorkingImages) -> FromFiles:
        """Write the maps of the tagged images, one file per image.

        Raises:
            ValueError: If an image has no annotated mask.
        """
        files = data.files
        masks = [[path.stat().st_size, path.stat().st_mtime_ns] for path in files.masks if path]
        key = content_key(describe(self), data.key, masks, code_id(__name__))
        folder = setting.place(f"truth-{key}")
        targets = {
            index: folder / PurePosixPath(files.names[index]).with_suffix(".npz")
            for index in data.tagged
        }
        if not all(path.is_file() for path in targets.values()):
            with together(folder, setting.processes):
                for index in setting.processes.share(list(targets)):
                    if not targets[index].is_file():
                        self._write(data, index, targets[index])
        return FromFiles(folder=folder, format="weakclip")

    def seeds(self, data: WorkingImages, index: int) -> NDArray[np.uint8]:
        """The corrupted mask of an image, (H, W), at the size of its file.

        Raises:
            ValueError: If the image has no annotated mask.
        """
        files, name = data.files, data.files.names[index]
        gt_mask = files.gt_mask(index)
        if gt_mask is None:
            raise ValueError(f"{name}: expected an annotated mask to corrupt, got none")
        tags = (files.image_labels[index].nonzero()[:, 0] + 1).tolist()
        known = np.where(np.isin(gt_mask, tags), gt_mask, np.uint8(0))
        generator = np.random.default_rng([self.draw, zlib.crc32(name.encode(errors="replace"))])
        image = read_rgb(files.path(index))
        return corrupted(known, image, tags, self.corruption, self.strength, generator)

    def _write(self, data: WorkingImages, index: int, path: Path) -> None:
        seeds = self.seeds(data, index)
        height, width = seeds.shape
        tags = data.image_labels[index]
        maps = torch.zeros(len(tags), height, width)
        for label in np.unique(seeds[seeds > 0]).tolist():
            maps[label - 1] = 1 - CONFIDENCE
            maps[label - 1][torch.from_numpy(seeds == label)] = CONFIDENCE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_maps(path, maps, tags, (height, width), compressed=True)
