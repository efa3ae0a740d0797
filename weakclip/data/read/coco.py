"""COCO's instances JSON: images, categories, objects, and the image-level tags they make.

Two numberings of the 80 classes are in use, and a mask does not say which it has:

* `contiguous`: label 1 to 80, the rank of the category's id (what WSSS tables use);
* `original`: label = category id, 1 to 90, of which ten are unused.

Tags count crowds: the class is in the image. `weakclip.data.build.coco_masks` paints.

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from weakclip.data.read.images import readable
from weakclip.data.read.tagged import (
    BadImage,
    TaggedFiles,
    check_known,
    labels_tensor,
    mask_of,
    relative_name,
)
from weakclip.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Numbering = Literal["contiguous", "original"]
Segmentation = list[list[float]] | dict[str, Any] | None
"""Polygons [[x, y, ...], ...] or RLE {"size", "counts"}; None if the JSON has tags only."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """An image of the JSON."""

    id: int
    file_name: str
    size: tuple[int, int]
    """(H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoObject:
    """An annotation of the JSON."""

    id: int
    category: int
    crowd: bool
    segmentation: Segmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """An instances JSON."""

    images: tuple[CocoImage, ...]
    categories: dict[int, str]
    """Name by id, ids increasing."""
    objects: Mapping[int, Sequence[CocoObject]]
    """By image id; images without objects are absent."""

    def labels(self, numbering: Numbering) -> dict[int, int]:
        """Mask label of each category id.

        Raises:
            ValueError: If a label does not fit between background and void.
        """
        ids = list(self.categories)
        values = range(1, len(ids) + 1) if numbering == "contiguous" else ids
        labels = dict(zip(ids, values, strict=True))
        outside = [label for label in labels.values() if not BACKGROUND < label < IGNORE]
        if outside:
            raise ValueError(
                f"ids {numbering}: expected labels 1 to {IGNORE - 1}, got {outside[0]}; "
                "use contiguous ids or fewer categories"
            )
        return labels

    def tags(self, image_id: int) -> frozenset[str]:
        """Names of the categories of an image, crowds included."""
        return frozenset(self.categories[one.category] for one in self.objects.get(image_id, ()))


def read_instances(path: Path) -> Instances:
    """Read an instances JSON.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, lacks a part, or an annotation names an unknown image or
            category.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with readable(path, "COCO JSON"):
        content = json.loads(path.read_text(encoding="utf-8"))
        images = tuple(_image(entry) for entry in content["images"])
        names = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        objects: dict[int, list[CocoObject]] = defaultdict(list)
        for entry in content["annotations"]:
            objects[int(entry["image_id"])].append(_object(entry))
    unknown = {one.category for several in objects.values() for one in several} - set(names)
    strangers = set(objects) - {image.id for image in images}
    for what, ids in (("categories", unknown), ("images", strangers)):
        if ids:
            raise ValueError(
                f"{path}: annotations name {what} that the file does not list, e.g. id {min(ids)}; "
                "use the file as it was published"
            )
    return Instances(images=images, categories=dict(sorted(names.items())), objects=dict(objects))


def coco_classes(categories: Mapping[int, str], numbering: Numbering) -> tuple[str, ...]:
    """Class names in label order; unused ids of the original numbering are called `unused-12`.

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

    Args:
        annotations: The JSON.
        images: Folder that `file_name` is relative to.
        classes: Class names in label order, e.g. those of the original ids; None takes the
            categories by increasing id.
        masks: Folder of class masks, named as the images, if there is one.

    Raises:
        FileNotFoundError: If the JSON or the folder is missing.
        ValueError: If the JSON is malformed, or has a tag that is not among `classes`.
    """
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of images")
    read = read_instances(annotations)
    names: list[str] = []
    tags: list[frozenset[str]] = []
    problems: list[BadImage] = []
    for image in read.images:
        try:
            names.append(relative_name(image.file_name, f"{annotations.name}: image {image.id}"))
            tags.append(read.tags(image.id))
        except ValueError as error:
            problems.append(BadImage(image.file_name, str(error)))
    order = coco_classes(read.categories, "contiguous") if classes is None else tuple(classes)
    check_known(sorted(frozenset().union(*tags)), order)
    return TaggedFiles(
        root=images,
        names=tuple(names),
        classes=order,
        image_labels=labels_tensor(tags, order),
        masks=tuple(mask_of(masks, name) for name in names),
        problems=tuple(problems),
    )


def _image(entry: Mapping[str, Any]) -> CocoImage:
    size = (int(entry.get("height", 0)), int(entry.get("width", 0)))
    return CocoImage(id=int(entry["id"]), file_name=str(entry["file_name"]), size=size)


def _object(entry: Mapping[str, Any]) -> CocoObject:
    return CocoObject(
        id=int(entry.get("id", 0)),
        category=int(entry["category_id"]),
        crowd=bool(entry.get("iscrowd", 0)),
        segmentation=entry.get("segmentation"),
    )
