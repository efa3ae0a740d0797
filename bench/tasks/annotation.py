"""Annotated masks in place of seeds or pseudo masks, for training an upper bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import BenchError
from weakclip.stages.mask_files import MaskFiles

if TYPE_CHECKING:
    from weakclip.stages.images import WorkingImages


def annotation(images: WorkingImages) -> MaskFiles:
    """The ground truth of all tagged images of a split.

    Raises:
        BenchError: If a tagged image has no mask.
    """
    files, indices = images.files, images.tagged
    bare = [index for index in indices if files.masks[index] is None]
    if bare:
        raise BenchError(
            f"ground truth: expected a mask of every training image, got none of {len(bare)} of "
            f"{len(indices)}, first {files.names[bare[0]]}; docs/data.md says how the masks of all "
            "lists are made"
        )
    return MaskFiles(images, indices)
