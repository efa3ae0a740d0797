"""Matches an instances JSON with the images on disk before masks are painted.

A mask must have the size of its upright image, so the image file takes precedence over the JSON.
What cannot be painted is left out and reported: annotations with a malformed or misfitting
segmentation, and images whose size is unknown or whose annotations are for another size.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.build.coco_masks import check_size
from weakclip.data.build.coco_outline import Polygons, outline_of, stated_size
from weakclip.data.read.images import seen_size
from weakclip.data.read.instances import UNKNOWN_SIZE
from weakclip.data.read.tagged import BadImage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weakclip.data.read.instances import CocoImage, CocoObject, ImageId, Instances
    from weakclip.progress import Report

EDGE = 1.0
"""Pixels by which a corner may lie outside an image whose size in the JSON is wrong."""
LONGEST_NAME = 240
"""Longest file name in bytes; common file systems allow 255, and temporary names are longer."""
_SAME_SHAPE = 0.02  # relative difference of two aspect ratios that can be due to rounding


def fitted(instances: Instances, folder: Path, *, report: Report) -> Instances:
    """The part of `instances` that can be painted, with the sizes of the images in `folder`.

    A missing image has the size stated in the JSON.

    Raises:
        ValueError: If nothing can be painted.
    """
    every = [one for several in instances.objects.values() for one in several]
    if every and all(one.segmentation is None for one in every):
        raise ValueError(
            "no annotation has a segmentation, and tags alone give no masks; "
            "`weakclip masks --tags` makes masks from tags"
        )
    fit = _Fit(instances, folder)
    for done, image in enumerate(instances.images):
        report(done, len(instances.images))
        fit.add(image)
    report(len(instances.images), len(instances.images))
    for what, before, after in (
        ("images", instances.images, fit.images),
        ("annotations", instances.objects, fit.objects),
    ):
        if before and not after:
            raise ValueError(f"none of its {what} can be painted, e.g. {fit.problems[-1]}")
    return replace(
        instances,
        images=tuple(fit.images),
        objects=fit.objects,
        problems=(*instances.problems, *fit.problems),
        notes=(*instances.notes, *fit.notes),
    )


class _Fit:
    """Collects the images and objects that fit."""

    def __init__(self, instances: Instances, folder: Path) -> None:
        self._instances, self._folder = instances, folder
        self.images: list[CocoImage] = []
        self.objects: dict[ImageId, Sequence[CocoObject]] = {}
        self.problems: list[BadImage] = []
        self.notes: list[str] = []

    def add(self, image: CocoImage) -> None:
        """Add an image and those of its objects that can be painted."""
        try:
            size = self._size(image)
            check_size(size)
        except ValueError as error:
            self.problems.append(BadImage(f"image {image.file_name}", f"{error}: no mask"))
            return
        self.images.append(replace(image, size=size))
        objects = self._instances.objects.get(image.id, ())
        whole = [one for one in objects if self._is_whole(one, image, size)]
        if whole:
            self.objects[image.id] = whole

    def _size(self, image: CocoImage) -> tuple[int, int]:
        """(H, W) of the mask."""
        if any(len(part.encode()) > LONGEST_NAME for part in PurePosixPath(image.file_name).parts):
            raise ValueError(f"expected names of {LONGEST_NAME} bytes or fewer")
        path = self._folder / image.file_name
        if not path.is_file():
            if image.size == UNKNOWN_SIZE:
                raise ValueError("the JSON has no width and height, and the file is missing")
            return image.size
        try:
            stored, seen = seen_size(path)
        except ValueError as error:
            if image.size == UNKNOWN_SIZE:
                raise
            self.problems.append(BadImage(f"image {image.file_name}", str(error)))
            return image.size
        if image.size == UNKNOWN_SIZE:
            self.notes.append(f"image {image.file_name}: size taken from the file")
        elif image.size != seen:
            self._settle(image, stored, seen)
        return seen

    def _settle(self, image: CocoImage, stored: tuple[int, int], seen: tuple[int, int]) -> None:
        """Check whether annotations fit an image whose size differs from that in the JSON."""
        says = f"the JSON says {stated_size(image.size)}, the file has {stated_size(seen)}"
        if image.size == stored:
            raise ValueError(
                f"{says} once EXIF turns it, and its annotations are of the image before that; "
                "turn the file and remove the tag"
            )
        if _is_scaled(image.size, seen):
            raise ValueError(f"{says}: it was resized; annotate it anew, or use the original")
        for one in self._instances.objects.get(image.id, ()):
            try:
                outline = outline_of(one.segmentation, seen)
            except ValueError as error:
                raise ValueError(f"{says}, and annotation {one.id} {error}") from error
            if isinstance(outline, Polygons) and not outline.within(seen, EDGE):
                raise ValueError(f"{says}, and annotation {one.id} does not fit in")
        problem = f"{says}: the annotations fit, the mask has the size of the file"
        self.problems.append(BadImage(f"image {image.file_name}", problem))

    def _is_whole(self, one: CocoObject, image: CocoImage, size: tuple[int, int]) -> bool:
        """Whether an object can be painted; if not, a problem is recorded."""
        try:
            outline_of(one.segmentation, size)
        except ValueError as error:
            name = self._instances.categories[one.category]
            where = f"annotation {one.id} ({name} in {image.file_name})"
            self.problems.append(BadImage(where, f"{error}: left out"))
            return False
        return True


def _is_scaled(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same aspect ratio."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) < _SAME_SHAPE
