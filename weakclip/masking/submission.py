"""A submission of masks to the PASCAL VOC evaluation server, competition 6.

The gzipped tar contains `results/VOC2012/Segmentation/comp6_test_cls/<ID>.png`: 8-bit palette PNGs
of the images' sizes with labels 0 to 20. The server rejects any other label.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from weakclip.data.atomic import replacing
from weakclip.data.formats.masks import read_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
VOC_IMAGES = 1456
"""Number of images in VOC 2012's test set."""
_LARGEST = 20


def write_submission(
    path: Path, masks: Path, ids: Sequence[str], *, expected: int = VOC_IMAGES
) -> int:
    """Pack the masks `<ID>.png` of the test set into a `.tar.gz`, atomically; how many they are.

    Raises:
        ValueError: If the list is not the whole test set, or a mask is missing, is unreadable or
            contains a label that the server rejects.
    """
    if len(set(ids)) != expected:
        raise ValueError(
            f"test list: expected {expected} different ids, got {len(set(ids))} of {len(ids)}"
        )
    missing = [name for name in ids if not (masks / f"{name}.png").is_file()]
    if missing:
        raise ValueError(
            f"{masks}: no mask of {len(missing)} of {len(ids)} images, first {missing[0]}; "
            "run `weakclip predict` on all of them first"
        )
    for name in ids:
        largest = int(read_mask(masks / f"{name}.png").max())
        if largest > _LARGEST:
            raise ValueError(
                f"{masks / name}.png: label {largest}; the server takes 0 to {_LARGEST}, no 255"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for name in ids:
            content = (masks / f"{name}.png").read_bytes()
            entry = tarfile.TarInfo(f"{FOLDER}/{name}.png")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return len(ids)
