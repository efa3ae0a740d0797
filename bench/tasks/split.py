"""A split of a data set in memory: what training may see, and what only scoring looks at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.errors import BenchError
from weakclip.data.read.voc import VOCDataset
from weakclip.stages.protocols import ImageStack

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Split:
    """The images of a split in memory."""

    images: Tensor
    """(N, 3, H, W), uint8."""
    gt_masks: Tensor
    """(N, H, W), int64; only scoring looks at them."""
    image_labels: Tensor
    """(N, F), bool."""
    list_sha256: str

    @property
    def tagged(self) -> ImageStack:
        """Images and tags without the pixel annotation: what a method is given."""
        return ImageStack(self.images, self.image_labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]


def read_split(root: Path, split: str) -> Split:
    """Read a split of a data set in VOC layout whose images have one size.

    Raises:
        BenchError: If the folder is not what it claims to be, or the images differ in size.
    """
    try:
        dataset = VOCDataset(root, split)
        samples = [dataset[i] for i in range(len(dataset))]
    except (OSError, ValueError) as error:
        raise BenchError(str(error)) from error
    sizes = {sample.image.shape for sample in samples}
    if len(sizes) != 1:
        raise BenchError(f"{split}: expected images of one size, got {sorted(sizes)[:3]}")
    masks = [sample.gt_mask for sample in samples]
    if any(mask is None for mask in masks):
        raise BenchError(f"{split}: expected a SegmentationClass mask for every image")
    return Split(
        images=torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2),
        gt_masks=torch.from_numpy(np.stack([m for m in masks if m is not None])).long(),
        image_labels=torch.from_numpy(dataset.image_labels()),
        list_sha256=dataset.image_list_sha256,
    )


def tensors_sha256(*tensors: Tensor) -> str:
    """SHA-256 of the values of CPU tensors, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
