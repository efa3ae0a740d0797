"""COCO's categories and their numberings, and the tagged images of an instances JSON.

Two numberings of the 80 classes are in use, and a mask does not state which one it has:

* `contiguous`: labels 1 to 80, the rank of the category's id (used in WSSS tables);
* `original`: label = category id, 1 to 90, ten of which are unused.

Crowd annotations count for tags, since the class is in the image.

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context; https://cocodataset.org/#format-data
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakclip.data.read.coco_json import read_instances
from weakclip.data.read.mask_names import find_masks
from weakclip.data.read.tagged import TaggedFiles, check_known, labels_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from weakclip.data.read.instances import Numbering

COCO_CATEGORIES: dict[int, str] = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train",
    8: "truck", 9: "boat", 10: "traffic light", 11: "fire hydrant", 13: "stop sign",
    14: "parking meter", 15: "bench", 16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep",
    21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe", 27: "backpack",
    28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove",
    41: "skateboard", 42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass",
    47: "cup", 48: "fork", 49: "knife", 50: "spoon", 51: "bowl", 52: "banana", 53: "apple",
    54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot", 58: "hot dog", 59: "pizza",
    60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote",
    76: "keyboard", 77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink",
    82: "refrigerator", 84: "book", 85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear",
    89: "hair drier", 90: "toothbrush",
}  # fmt: skip
"""The 80 categories of COCO 2014 and 2017 by their original ids."""


def coco_classes(categories: Mapping[int, str], numbering: Numbering) -> tuple[str, ...]:
    """Class names in label order; unused ids of the original numbering are named `unused-12`.

    Example:
        >>> coco_classes({1: "person", 3: "car"}, "original")
        ('person', 'unused-2', 'car')
        >>> coco_classes({1: "person", 3: "car"}, "contiguous")
        ('person', 'car')
    """
    if numbering == "contiguous":
        return tuple(categories[one] for one in sorted(categories))
    return tuple(categories.get(one, f"unused-{one}") for one in range(1, max(categories) + 1))


def list_coco(
    annotations: Path,
    images: Path,
    *,
    classes: Sequence[str] | None = None,
    masks: Path | None = None,
) -> TaggedFiles:
    """The images of a COCO JSON with their tags; annotations may lack segmentations.

    `file_name` is relative to `images`. `classes` are in label order; by default they are the
    categories by increasing id. `masks` is a folder of class masks, named like the images.

    Raises:
        FileNotFoundError: If the JSON or the folder is missing.
        ValueError: If the JSON is malformed, or a category is not among `classes`.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of images")
    read = read_instances(annotations)
    names = [image.file_name for image in read.images]
    tags = [read.tags(image.id) for image in read.images]
    order = coco_classes(read.categories, "contiguous") if classes is None else tuple(classes)
    check_known(sorted(frozenset().union(*tags)), order)
    found = find_masks(masks, names)
    return TaggedFiles(
        root=images,
        names=tuple(names),
        classes=order,
        tags=labels_array(tags, order),
        masks=found.paths,
        mask_root=masks,
        reading=(*(f"{annotations.name}: {note}" for note in read.notes), *found.reading),
        problems=read.problems,
    )
