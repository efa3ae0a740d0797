"""Sources of predicted labels: a folder of masks, a COCO JSON, or a folder of maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from weakclip.data.build.coco_masks import class_mask
from weakclip.data.formats.ids import NamedFiles, image_key
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.coco_json import read_instances
from weakclip.evaluation.rules import MapRule, describe_rule, labels_from
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from weakclip.data.formats.from_files import FromFiles
    from weakclip.data.formats.image_maps import ImageMaps
    from weakclip.data.read.instances import CocoImage, Instances


class Predictions(Protocol):
    """A source of predicted labels."""

    def describe(self) -> str:
        """How the labels are made, as text for a record."""

    def labels(self, name: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """The labels of an image of size (H, W), possibly of another size; None if there are none.

        Raises:
            ValueError: If they cannot be read or made.
        """

    def surplus(self, names: Sequence[str]) -> tuple[str, ...]:
        """Images with predictions that are not among `names`."""


@dataclass(frozen=True, slots=True)
class MaskFolder:
    """A folder of label PNGs, palette or grey."""

    files: NamedFiles

    def describe(self) -> str:
        """The text `masks`."""
        return "masks"

    def labels(self, name: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """The labels in the file of an image."""
        path = self.files.find(name)
        return None if path is None else read_mask(path)

    def surplus(self, names: Sequence[str]) -> tuple[str, ...]:
        """Files of other images."""
        return self.files.surplus(names)


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO JSON with masks, such as `masks.json` of `weakclip masks`.

    Pixels outside all annotations are background; the format cannot mark undecided pixels.
    """

    path: Path
    classes: tuple[str, ...]

    def describe(self) -> str:
        """The text `masks of a COCO JSON`."""
        return "masks of a COCO JSON"

    def labels(self, name: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """The label map of an image's objects; smaller objects overwrite larger ones."""
        instances, images, labels = _coco(self.path, self.classes)
        image = images.get(image_key(name))
        if image is None:
            return None
        return class_mask(instances.objects.get(image.id, ()), image.size, labels)

    def surplus(self, names: Sequence[str]) -> tuple[str, ...]:
        """Other images in the file."""
        wanted = {image_key(name) for name in names}
        _, images, _ = _coco(self.path, self.classes)
        return tuple(image.file_name for key, image in images.items() if key not in wanted)


@dataclass(frozen=True, slots=True)
class MapFolder:
    """A folder of maps, and a rule for their background."""

    source: FromFiles
    rule: MapRule
    num_classes: int
    """K, background included."""

    def describe(self) -> str:
        """Maps and rule as text."""
        return f"maps, background {describe_rule(self.rule)}"

    def labels(self, name: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """The labels that the rule makes from the maps of an image."""
        found = self.maps(name, size)
        return None if found is None else labels_from(found[1], found[0], size, self.rule)

    def maps(self, name: str, size: tuple[int, int]) -> tuple[tuple[int, ...], ImageMaps] | None:
        """Labels and maps of an image; None if there is no file.

        Raises:
            ValueError: If the file is damaged, unsafe or of another format, or its maps have the
                wrong size, are not finite, or have an unknown label.
        """
        path = self.source.files().find(name)
        if path is None:
            return None
        labels, maps = self.source.load(path)
        misfit = maps.misfit(size)
        if misfit is not None:
            raise ValueError(f"{path}: {misfit}")
        if not np.isfinite(maps.maps).all():
            raise ValueError(f"{path}: maps with NaN or infinity; make them again")
        unknown = [label for label in labels if not 0 < label < self.num_classes]
        if unknown:
            raise ValueError(f"{path}: label {unknown[0]} of 1 to {self.num_classes - 1}")
        return labels, maps

    def surplus(self, names: Sequence[str]) -> tuple[str, ...]:
        """Files of other images."""
        return self.source.files().surplus(names)


@lru_cache(maxsize=2)
def _coco(
    path: Path, classes: tuple[str, ...]
) -> tuple[Instances, Mapping[str, CocoImage], Mapping[int, int]]:
    """Content of a JSON, its images by `image_key`, and the label of each category id."""
    instances = read_instances(path)
    if instances.problems:
        count, first = len(instances.problems), instances.problems[0]
        raise ValueError(f"{path}: {count} of its entries cannot be used, first {first}")
    unknown = sorted(set(instances.categories.values()) - set(classes))
    if unknown:
        raise ValueError(
            f"{path}: category {unknown[0]!r} is no class; {suggestion(unknown[0], classes)}"
        )
    labels = {one: classes.index(name) + 1 for one, name in instances.categories.items()}
    return instances, {image_key(image.file_name): image for image in instances.images}, labels


def predictions_of(
    path: Path, classes: Sequence[str], *, maps: FromFiles | None, rule: MapRule
) -> Predictions:
    """The predictions in a COCO JSON, or in a folder of masks or, if `maps` says how, of maps.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If the folder has no file of that kind, or a category is not a class.
    """
    if maps is not None:
        maps.files()
        return MapFolder(maps, rule, len(classes) + 1)
    if path.suffix.lower() == ".json":
        _coco(path, tuple(classes))
        return CocoFile(path, tuple(classes))
    return MaskFolder(NamedFiles.of(path, (".png",)))
