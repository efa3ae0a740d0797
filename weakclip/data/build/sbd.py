"""Class masks of the Semantic Boundaries Dataset, from its official MATLAB files.

    root/cls/{id}.mat       struct GTcls with Boundaries, Segmentation, CategoriesPresent
    root/{train,val}.txt    ids; these are not VOC's splits

`root` is `benchmark_RELEASE/dataset` in the archive. The labels are VOC's 20 classes in VOC's
order; there is no void border.

References:
    Hariharan et al. 2011, Semantic Contours from Inverse Detectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weakclip.data.formats.mat import read_field
from weakclip.data.read.voc import VOC_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def sbd_masks(root: Path) -> dict[str, Path]:
    """The class masks of SBD by image id, sorted; `root` may also be above the folder of cls.

    Raises:
        FileNotFoundError: If there is no cls folder.
    """
    for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        if (folder / "cls").is_dir():
            return {path.stem: path for path in sorted((folder / "cls").glob("*.mat"))}
    raise FileNotFoundError(
        f"{root}: expected SBD's folder cls with .mat files in it; "
        "give the folder benchmark_RELEASE/dataset of the archive"
    )


def read_sbd_mask(path: Path) -> NDArray[np.uint8]:
    """The class mask of an SBD file: (H, W), uint8, 0 background, 1 to 20 VOC's classes.

    Raises:
        ValueError: If the file is damaged, is not a GTcls struct or has other labels.
    """
    labels = read_field(path, "GTcls", "Segmentation")
    if labels.ndim != 2 or not labels.size:
        raise ValueError(
            f"{path}: expected (H, W) numbers in GTcls.Segmentation, got {labels.dtype} "
            f"{labels.shape}; use the files of folder cls, not of inst"
        )
    if not (labels.min() >= 0 and labels.max() <= len(VOC_CLASSES)):  # also true for NaN
        raise ValueError(
            f"{path}: expected labels 0 to {len(VOC_CLASSES)}, got {labels.min()} to "
            f"{labels.max()}; copy the file again"
        )
    whole = labels.astype(np.uint8)
    if not np.array_equal(whole, labels):
        raise ValueError(f"{path}: expected whole numbers as labels, got fractions; copy it again")
    return whole
