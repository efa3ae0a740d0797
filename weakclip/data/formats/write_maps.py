"""Writing class activation maps, in our compact format or in IRN's.

Our format contains only the tagged classes, in half precision, on the grid of the maps. For COCO's
82,081 training images with three classes each, maps on patches of 16 pixels (30 x 40 cells) take
0.65 GB and maps of stride 8 take 2.4 GB; IRN's format, with every pixel in 32 bits, takes 300 GB.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.data.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_IRN_STRIDE = 4


def write_maps(
    path: Path,
    cams: Tensor,
    image_labels: Tensor,
    size: tuple[int, int],
    *,
    compressed: bool = False,
) -> None:
    """Write the maps of one image in our format, atomically.

    The file is an archive of plain arrays: `labels` (K,) int16, c + 1 for class c; `maps`
    (K, h, w) float16; `size` (2,) int32, (H, W) of the image. `read_maps` reads it back exactly.

    Args:
        path: Target, `.npz`; its folder must exist.
        cams: (F, h, w), in [0, 1]; only those of the tagged classes are written.
        image_labels: Image-level tags, (F,), bool.
        size: (H, W) of the image.
        compressed: Whether to compress the arrays, which helps for maps with few distinct values.

    Raises:
        ValueError: If the shapes do not fit or a written value is not in [0, 1].
    """
    classes, maps = _tagged(cams, image_labels)
    save = np.savez_compressed if compressed else np.savez
    with replacing(path) as temporary, temporary.open("wb") as file:
        save(
            file,
            labels=(classes + 1).astype(np.int16),
            maps=maps.half().numpy(),
            size=np.asarray(size, dtype=np.int32),
        )


def write_irn_maps(path: Path, cams: Tensor, image_labels: Tensor, size: tuple[int, int]) -> None:
    """Write the maps of one image in irn's format, atomically, as NumPy arrays; see `write_maps`.

    The dict has `keys` (K,), int64, classes from 0; `high_res` (K, H, W), float32, resized
    bilinearly; and `cam`, the same on a grid of stride 4. irn's own second step needs `cam` as a
    tensor (`torch.from_numpy`); other readers of the format accept arrays. NumPy 1 and 2 can load
    the file.

    Raises:
        ValueError: As for `write_maps`.
    """
    classes, maps = _tagged(cams, image_labels)
    height, width = size
    grid = ((height - 1) // _IRN_STRIDE + 1, (width - 1) // _IRN_STRIDE + 1)
    content = {
        "keys": classes.astype(np.int64),
        "cam": _resized(maps, grid).numpy(),
        "high_res": _resized(maps, size).numpy(),
    }
    boxed = np.empty((), dtype=object)
    boxed[()] = content
    # NumPy 2 writes a module name that NumPy 1 lacks; in protocol 3 names are separate lines.
    pickled = pickle.dumps(boxed, protocol=3).replace(
        b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    )
    with replacing(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(pickled)


def _tagged(cams: Tensor, image_labels: Tensor) -> tuple[NDArray[np.int64], Tensor]:
    """Classes, counted from 0, and checked maps of the tagged classes."""
    if cams.ndim != 3 or image_labels.shape != cams.shape[:1]:
        raise ValueError(
            f"expected maps (F, h, w) and tags (F,), got {tuple(cams.shape)} and "
            f"{tuple(image_labels.shape)}"
        )
    maps = cams[image_labels].detach().float().cpu()
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError("expected maps in [0, 1]; divide each by its maximum and mend NaN first")
    return image_labels.nonzero()[:, 0].cpu().numpy(), maps


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (K, h, w) to (K, *size); also for K = 0, which torch cannot interpolate."""
    if not len(maps):
        return torch.zeros(0, *size)
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
