"""Label maps as one COCO-RLE JSON, the format of annotation tools and of COCO's own API.

There is one annotation per image and class, so an "instance" is all pixels of a class. Background
and void pixels (255) are in no annotation. `weakclip.data.read.coco_json.read_instances` and
`weakclip.data.build.coco_masks.class_mask` read the file back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as rle

from weakclip.data.atomic import replacing
from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def class_regions(
    mask: NDArray[np.uint8], classes: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Label and annotation fields (area, bbox, segmentation) of every class in a label map (H, W).

    Raises:
        ValueError: If a label is neither a class nor background nor void.

    Example:
        >>> mask = np.array([[0, 2], [255, 2]], dtype=np.uint8)
        >>> [(label, found["bbox"]) for label, found in class_regions(mask, ("cat", "dog"))]
        [(2, [1.0, 0.0, 1.0, 2.0])]
    """
    for label in np.unique(mask).tolist():
        if label in (BACKGROUND, IGNORE):
            continue
        if label > len(classes):
            raise ValueError(f"label {label}: expected 0 to {len(classes)} or {IGNORE}")
        encoded = rle.encode(np.asfortranarray(mask == label, dtype=np.uint8))
        yield (
            label,
            {
                "area": int(rle.area(encoded)),
                "bbox": rle.toBbox(encoded).tolist(),
                "segmentation": {
                    "size": encoded["size"],
                    "counts": encoded["counts"].decode("ascii"),
                },
            },
        )


def write_coco_rle(
    path: Path, masks: Iterable[tuple[str, NDArray[np.uint8]]], classes: Sequence[str]
) -> int:
    """Write label maps as one COCO JSON, atomically, with one mask in memory at a time.

    Args:
        path: Target; its folder must exist.
        masks: (file name, labels (H, W), uint8) of each image, in order.
        classes: Names of the F classes; class c becomes category id c + 1.

    Returns:
        The number of annotations.

    Raises:
        ValueError: As for `class_regions`.
    """
    images: list[dict[str, Any]] = []
    count = 0
    categories = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')
        for image_id, (name, mask) in enumerate(masks, start=1):
            height, width = mask.shape
            images.append({"id": image_id, "file_name": name, "height": height, "width": width})
            for label, fields in class_regions(mask, classes):
                file.write(",\n" if count else "\n")
                count += 1
                keys = {"id": count, "image_id": image_id, "category_id": label, "iscrowd": 0}
                json.dump(keys | fields, file)
        file.write(f'],\n"images": {json.dumps(images)}}}\n')
    return count
