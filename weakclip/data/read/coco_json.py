"""Reader of COCO's instances JSON as written by various tools.

Everything unambiguous is accepted: any UTF encoding with or without a byte order mark, ids as
integers or digits, exact duplicates of entries. An entry with an error is left out and reported in
`Instances.problems`. An error that affects other entries (an id shared by two images, a name shared
by two categories) rejects the file.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from weakclip.data.read.images import readable
from weakclip.data.read.instances import UNKNOWN_SIZE, CocoImage, CocoObject, Instances
from weakclip.data.read.tagged import BadImage, relative_name
from weakclip.labels import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from weakclip.data.read.instances import ImageId

SECTIONS = ("images", "categories", "annotations")
_BACKGROUNDS = ("background", "bg")
_CROWD: dict[Any, bool] = {None: False, 0: False, 1: True, "0": False, "1": True}
_DIGITS = re.compile("-?[0-9]{1,18}")

_Read = TypeVar("_Read")


def read_instances(path: Path) -> Instances:
    """Read an instances JSON.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, lacks a section, contains nothing usable, or an id or name
            is ambiguous.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with readable(path, "COCO JSON"):
        content = json.loads(path.read_bytes())
    return _Reader(path).read(content)


def whole_number(value: object) -> int:
    """An integer, also if written as 3.0 or "3"; a ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    raise ValueError(f"expected a whole number, got {_brief(value)}")


class _Reader:
    """Collects the usable entries of a file, and the problems of the others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problems: list[BadImage] = []
        self._notes: list[str] = []

    def read(self, content: object) -> Instances:
        sections = self._sections(content)
        images = self._images(sections["images"])
        names = self._categories(sections["categories"])
        known = {image.id for image in images.values() if image is not None}
        objects: dict[ImageId, list[CocoObject]] = defaultdict(list)
        for image_id, one in self._objects(sections["annotations"], images, names):
            if image_id in known:
                objects[image_id].append(one)
        for what, found in (("images", known), ("annotations", objects)):
            if sections[what] and not found:
                reason = f", e.g. {self._problems[0]}" if self._problems else ""
                raise ValueError(f"{self._path}: none of its {what} can be used{reason}")
        used = {one.category for several in objects.values() for one in several}
        return Instances(
            images=tuple(image for image in images.values() if image is not None),
            categories=self._classes(names, used),
            objects=dict(objects),
            problems=tuple(self._problems),
            notes=tuple(self._notes),
        )

    def _sections(self, content: object) -> dict[str, list[Any]]:
        expected = "expected a JSON object with the lists images, categories and annotations"
        if not isinstance(content, dict):
            what = "a list" if isinstance(content, list) else _brief(content)
            some = content[0] if isinstance(content, list) and content else None
            if isinstance(some, dict) and "image_id" in some:
                what += " of annotations, as detectors write their results"
            raise ValueError(f"{self._path}: {expected}, got {what}; use the file of the data set")
        for name in SECTIONS:
            if not isinstance(content.get(name), list):
                keys = ", ".join(sorted(map(str, content))[:10]) or "none"
                got = f"{name} = {_brief(content[name])}" if name in content else f"no {name}"
                raise ValueError(f"{self._path}: {expected}, got {got} (it has: {keys})")
        return {name: content[name] for name in SECTIONS}

    def _images(self, entries: list[Any]) -> dict[ImageId, CocoImage | None]:
        """Images by id; None for an image with an error, so that its annotations are no errors."""
        images: dict[ImageId, CocoImage | None] = {}
        by_name: dict[str, CocoImage] = {}
        for position, entry in enumerate(entries):
            image_id = self._try(f"images[{position}]", partial(_image_id, entry))
            if image_id is None:
                continue
            image = self._try(f"image {image_id}", partial(_image, entry, image_id))
            before = images.setdefault(image_id, image)
            if image is None or before is image:
                pass
            elif before is None:
                images[image_id] = image
            elif before == image:
                self._notes.append(f"image {image_id} stands twice, word for word: taken once")
            else:
                raise ValueError(
                    f"{self._path}: image id {image_id} stands twice, for "
                    f"{before.file_name!r} and {image.file_name!r}; give each image an id of its "
                    "own, also in the annotations"
                )
            other = before if image is None else by_name.setdefault(image.file_name, image)
            if image is not None and other is not None and other.id != image.id:
                raise ValueError(
                    f"{self._path}: images {other.id} and {image.id} are both "
                    f"{image.file_name!r}; list each file once and give all its annotations "
                    "one image_id"
                )
        return images

    def _categories(self, entries: list[Any]) -> dict[int, str]:
        names: dict[int, str] = {}
        ids: dict[str, int] = {}
        for position, entry in enumerate(entries):
            try:
                number, name = whole_number(_get(entry, "id")), _name(_get(entry, "name"))
            except ValueError as error:  # an error here would make all labels uncertain
                raise ValueError(f"{self._path}: categories[{position}]: {error}") from error
            if names.get(number) == name:
                self._notes.append(f"category {number} ({name}) stands twice: taken once")
                continue
            if number in names:
                raise ValueError(
                    f"{self._path}: category id {number} stands twice, for {names[number]!r} and "
                    f"{name!r}; give each category an id of its own, also in the annotations"
                )
            if name in ids:
                raise ValueError(
                    f"{self._path}: categories {ids[name]} and {number} are both {name!r}; rename "
                    "one, or give their annotations one category_id"
                )
            names[number], ids[name] = name, number
        return names

    def _objects(
        self, entries: list[Any], images: Mapping[ImageId, object], names: Mapping[int, str]
    ) -> Iterator[tuple[ImageId, CocoObject]]:
        """Image id and object of each annotation without an error."""
        seen: dict[str, Any] = {}
        for position, entry in enumerate(entries):
            number = entry.get("id") if isinstance(entry, dict) else None
            name = f"annotations[{position}]" if number is None else f"annotation {_brief(number)}"
            found = self._try(name, partial(_annotation, entry, images, names))
            before = entry if number is None or found is None else seen.setdefault(name, entry)
            if found is None:
                continue
            if before is not entry and before == entry:
                self._notes.append(f"{name} stands twice, word for word: taken once")
                continue
            if before is not entry:
                where = f"of images {before['image_id']} and {found[0]}"
                reason = f"the id stands twice, {where}; both are used: number them anew"
                self._problems.append(BadImage(name, reason))
            yield found

    def _classes(self, names: Mapping[int, str], used: set[int]) -> dict[int, str]:
        """The categories by increasing id, without those for the background."""
        kept = {}
        for number, name in sorted(names.items()):
            if number > BACKGROUND and name.strip("_").casefold() not in _BACKGROUNDS:
                kept[number] = name
            elif number in used:
                raise ValueError(
                    f"{self._path}: category {number} ({name}) has annotations; label 0 and the "
                    "name background are what no object covers. Number the categories from 1 and "
                    "rename, or remove its annotations"
                )
            else:
                self._notes.append(
                    f"category {number} ({name}) has no annotations: not counted as a class"
                )
        if not kept:
            raise ValueError(f"{self._path}: expected categories, found none")
        return kept

    def _try(self, name: str, read: Callable[[], _Read]) -> _Read | None:
        """The result of `read`; None, with a recorded problem, if it raises `ValueError`."""
        try:
            return read()
        except ValueError as error:
            self._problems.append(BadImage(name, str(error)))
            return None


def _image_id(entry: object) -> ImageId:
    return _key(_get(entry, "id"))


def _image(entry: Mapping[str, Any], image_id: ImageId) -> CocoImage:
    name = _get(entry, "file_name")
    if not isinstance(name, str) or not _is_text(name):
        raise ValueError(f"expected a file_name, got {_brief(name)}")
    size = (_length(entry.get("height")), _length(entry.get("width")))
    known = size if min(size) > 0 else UNKNOWN_SIZE
    return CocoImage(id=image_id, file_name=relative_name(name, "file_name"), size=known)


def _annotation(
    entry: Mapping[str, Any], images: Mapping[ImageId, object], names: Mapping[int, str]
) -> tuple[ImageId, CocoObject]:
    image_id, category = _key(_get(entry, "image_id")), whole_number(_get(entry, "category_id"))
    if image_id not in images:
        raise ValueError(f"names image {image_id}, which the file does not list")
    if category not in names:
        raise ValueError(f"names category {category}, which the file does not list")
    crowd = entry.get("iscrowd")
    if isinstance(crowd, list | dict) or crowd not in _CROWD:
        raise ValueError(f"expected iscrowd 0 or 1, got {_brief(crowd)}")
    return image_id, CocoObject(
        id=_length(entry.get("id")),
        category=category,
        crowd=_CROWD[crowd],
        segmentation=entry.get("segmentation"),
    )


def _get(entry: object, name: str) -> Any:  # noqa: ANN401 (JSON)
    """A required value of an entry."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected a JSON object, got {_brief(entry)}")
    if name not in entry:
        raise ValueError(f"lacks {name!r}")
    return entry[name]


def _key(value: object) -> ImageId:
    """An image id: an integer, or any other text."""
    try:
        return whole_number(value)
    except ValueError:
        if isinstance(value, str) and value:
            return value
        raise


def _length(value: object) -> int:
    """A height, a width or an annotation id; 0 if it is not an integer."""
    try:
        return whole_number(value)
    except ValueError:
        return 0


def _name(value: object) -> str:
    """A category name, without surrounding blanks."""
    if not isinstance(value, str) or not _is_text(value) or not value.strip():
        raise ValueError(f"expected a name, got {_brief(value)}")
    return value.strip()


def _is_text(value: str) -> bool:
    """Whether a name fits on one line of a UTF-8 file."""
    one_line = len(f"{value}.".splitlines()) == 1
    return one_line and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
