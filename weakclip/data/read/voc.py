"""Reader of data sets in PASCAL VOC's layout: images, label masks, and image-level labels.

    root/JPEGImages/{id}.jpg
    root/Annotations/{id}.xml                    names of the objects: the image-level labels
    root/SegmentationClass/{id}.png              labels; if missing, SegmentationClassAug/{id}.png
    root/ImageSets/Segmentation/{split}.txt      ids, or "/JPEGImages/a.jpg /Masks/a.png" pairs

A weakly-supervised method may use only the image-level labels; the masks are for scoring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from weakclip.data.formats.masks import read_mask
from weakclip.data.read.images import read_rgb, readable
from weakclip.data.read.tagged import BadImage, TaggedFiles, labels_array, list_sha256
from weakclip.labels import IGNORE
from weakclip.suggestion import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

VOC_CLASSES: tuple[str, ...] = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
"""The 20 foreground classes; class c (0-based) has label c + 1 in a mask."""

_LISTS = PurePosixPath("ImageSets/Segmentation")
_LONGEST_NAME = 240  # bytes; common file systems allow 255, part of which a suffix takes
_MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image of a data set.

    Attributes:
        image_id: Name without folder and suffix.
        image: (H, W, 3), uint8, RGB.
        image_labels: Image-level labels, (F,), bool.
        gt_mask: (H, W), uint8: 0 background, 1..F classes, 255 void; None if there is none.
    """

    image_id: str
    image: NDArray[np.uint8]
    image_labels: NDArray[np.bool_]
    gt_mask: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Paths of an image and its annotations; None for a mask that does not exist."""

    image_id: str
    image: Path
    mask: Path | None
    annotation: Path


class VOCDataset:
    """A split of a data set in VOC's layout, read lazily; `dataset[i]` is a `Sample`.

    Attributes:
        root: The folder that contains JPEGImages.
        split: Name of the list, e.g. "train", "trainaug", "val".
        classes: Names of the foreground classes, in label order.
        ids: Image ids, in the order of the list.
        image_list_sha256: Hash of the ids in order, one per line; identifies the split.
    """

    def __init__(self, root: Path, split: str, *, classes: tuple[str, ...] = VOC_CLASSES) -> None:
        """Read the list and check that all files exist; no image is opened yet.

        Objects marked difficult count as image-level labels like any other.

        Raises:
            FileNotFoundError: If the root or files of some image are missing.
            ValueError: If the split is unknown or its list is malformed.
        """
        self.root = Path(root)
        self.split = split
        self.classes = classes
        _check_root(self.root)
        self._entries = _read_list(self.root, _list_path(self.root, split))
        _check_pieces(self._entries, self.root, split)
        self.ids: tuple[str, ...] = tuple(entry.image_id for entry in self._entries)
        self.image_list_sha256: str = list_sha256(self.ids)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        image = read_rgb(entry.image)
        gt_mask = None if entry.mask is None else read_mask(entry.mask)
        if gt_mask is not None:
            self._check_mask(gt_mask, entry, image.shape[:2])
        return Sample(
            image_id=entry.image_id,
            image=image,
            image_labels=_read_labels(entry.annotation, self.classes),
            gt_mask=gt_mask,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def image_labels(self) -> NDArray[np.bool_]:
        """Image-level labels of the whole split, (N, F), bool; reads only annotations."""
        return np.stack([_read_labels(entry.annotation, self.classes) for entry in self._entries])

    def _check_mask(
        self, gt_mask: NDArray[np.uint8], entry: _Entry, shape: tuple[int, ...]
    ) -> None:
        if gt_mask.shape != shape:
            raise ValueError(
                f"{entry.mask}: expected the size of its image, {shape}, got {gt_mask.shape}; "
                "one of the two files was resized"
            )
        known = (gt_mask <= len(self.classes)) | (gt_mask == IGNORE)
        if not known.all():
            raise ValueError(
                f"{entry.mask}: expected labels 0 to {len(self.classes)} and {IGNORE}, "
                f"got {int(gt_mask[~known][0])}; pass the data set's own `classes`"
            )


def list_voc(
    root: Path, split: str | None = None, *, classes: tuple[str, ...] = VOC_CLASSES
) -> TaggedFiles:
    """A possibly incomplete data set in VOC's layout as tagged files.

    `VOCDataset` requires all files; this function is for using an incomplete data set and for
    finding out what is missing. An image without annotation has no tags and a problem. Without a
    split, all images of all lists are taken, sorted.

    Raises:
        FileNotFoundError: If the root does not have VOC's layout.
        ValueError: If the split is unknown, a list is malformed, or images of different folders
            have the same name.
    """
    _check_root(root)
    every = sorted((root / _LISTS).glob("*.txt"))
    lists = [_list_path(root, split)] if split is not None else every
    read = [entry for path in lists for entry in _read_list(root, path)]
    by_id = _by_id(read, str(root / _LISTS))
    entries = read if split is not None else [by_id[image_id] for image_id in sorted(by_id)]
    images = root / "JPEGImages"
    flat = all(entry.image.parent == images for entry in entries)
    tags, problems = _tags_of(entries, classes)
    base = images if flat else root
    return TaggedFiles(
        root=base,
        names=tuple(entry.image.relative_to(base).as_posix() for entry in entries),
        classes=classes,
        tags=labels_array(tags, classes),
        masks=tuple(entry.mask for entry in entries),
        problems=problems,
    )


def voc_ids(root: Path, split: str) -> tuple[str, ...]:
    """The image ids of a list in ImageSets/Segmentation; a ValueError if missing or malformed."""
    return tuple(entry.image_id for entry in _read_list(root, _list_path(root, split)))


def _tags_of(
    entries: Sequence[_Entry], classes: tuple[str, ...]
) -> tuple[list[frozenset[str]], tuple[BadImage, ...]]:
    """The tags of each entry, empty if unreadable, and the problems."""
    tags: list[frozenset[str]] = []
    problems: list[BadImage] = []
    for entry in entries:
        try:
            tags.append(read_tags(entry.annotation, classes))
        except (OSError, ValueError) as error:
            tags.append(frozenset())
            problems.append(BadImage(entry.image_id, str(error)))
    return tags, tuple(problems)


def _check_root(root: Path) -> None:
    """Raise if `root` does not have VOC's layout; proposes a sub-folder that has it."""
    if not root.is_dir():
        raise FileNotFoundError(f"data root {root}: no such folder")
    missing = [name for name in ("JPEGImages", str(_LISTS)) if not (root / name).is_dir()]
    if not missing:
        return
    below = sorted(p.parent for p in root.glob("**/JPEGImages") if p.is_dir())[:1]
    found = sorted(p.name for p in root.iterdir())[:6]
    hint = f"did you mean {below[0]}?" if below else "give the folder that holds JPEGImages"
    raise FileNotFoundError(
        f"data root {root}: expected VOC's layout, but {' and '.join(missing)} is missing "
        f"(found: {', '.join(found) or 'nothing'}); {hint}"
    )


def _list_path(root: Path, split: str) -> Path:
    known = [path.stem for path in (root / _LISTS).glob("*.txt")]
    if split in known:
        return root / _LISTS / f"{split}.txt"
    raise ValueError(f"unknown split {split!r}; {suggestion(split, known)}")


def _read_list(root: Path, path: Path) -> tuple[_Entry, ...]:
    """Parse a list of ids or of image-mask pairs; blank lines are skipped."""
    with readable(path, "list"):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    entries = [
        _parse_line(root, line.split(), f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not entries:
        raise ValueError(f"{path}: expected one image id a line, got an empty list")
    if len(_by_id(entries, str(path))) < len(entries):
        ids = [entry.image_id for entry in entries]
        twice = next(image_id for image_id in ids if ids.count(image_id) > 1)
        raise ValueError(f"{path}: {twice} is listed twice; remove one of the lines")
    return tuple(entries)


def _by_id(entries: Sequence[_Entry], where: str) -> dict[str, _Entry]:
    """Entries by id; a ValueError if images of two folders have one name, and so one annotation."""
    found: dict[str, _Entry] = {}
    for entry in entries:
        other = found.setdefault(entry.image_id, entry)
        if other.image != entry.image:
            raise ValueError(
                f"{where}: {other.image} and {entry.image} are both called {entry.image_id} and "
                f"would have one annotation ({entry.annotation.name}); rename one"
            )
    return found


def _parse_line(root: Path, words: Sequence[str], where: str) -> _Entry:
    if any(len(part.encode()) > _LONGEST_NAME for word in words for part in word.split("/")):
        raise ValueError(f"{where}: expected names of {_LONGEST_NAME} bytes or fewer")
    match words:
        case [image_id] if re.fullmatch(r"\w[\w.-]*", image_id):
            candidates = [root / folder / f"{image_id}.png" for folder in _MASK_FOLDERS]
            mask = next((path for path in candidates if path.is_file()), None)
            image = root / "JPEGImages" / f"{image_id}.jpg"
        case [image_name, mask_name]:
            image = _inside(root, image_name, where)
            mask = _inside(root, mask_name, where)
            mask = mask if mask.is_file() else None
            image_id = image.stem
        case _:
            raise ValueError(
                f"{where}: expected an image id (2007_000032) or an image and a mask path "
                f"(/JPEGImages/a.jpg /SegmentationClassAug/a.png), got {' '.join(words)!r}"
            )
    annotation = root / "Annotations" / f"{image_id}.xml"
    return _Entry(image_id=image_id, image=image, mask=mask, annotation=annotation)


def _inside(root: Path, name: str, where: str) -> Path:
    """`root / name`; the name may begin with a slash but may not lead out of the root."""
    relative = PurePosixPath(name.lstrip("/"))
    if ".." in relative.parts:
        raise ValueError(f"{where}: expected a path below the data root, got {name!r}")
    return root / relative


def _check_pieces(entries: Sequence[_Entry], root: Path, split: str) -> None:
    """Raise if images or annotations are missing, or some masks of a split that has masks."""
    wanted = {
        "images (JPEGImages)": [e.image_id for e in entries if not e.image.is_file()],
        "annotations (Annotations)": [e.image_id for e in entries if not e.annotation.is_file()],
        f"masks ({' or '.join(_MASK_FOLDERS)})": [e.image_id for e in entries if e.mask is None],
    }
    masks = list(wanted)[-1]
    if len(wanted[masks]) == len(entries):
        del wanted[masks]  # a test split without masks, which is no error
    for what, missing in wanted.items():
        if missing:
            raise FileNotFoundError(
                f"{root}, split {split!r}: {len(missing)} of {len(entries)} {what} are missing, "
                f"the first is {missing[0]}; complete the data set or drop them from the list"
            )


def _read_labels(path: Path, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """The classes of the objects in an annotation, (F,), bool."""
    names = read_tags(path, classes)
    return np.array([name in names for name in classes], dtype=np.bool_)


def read_tags(path: Path, classes: tuple[str, ...]) -> frozenset[str]:
    """The class names of the objects in an annotation.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or names a class that is not in `classes`.
    """
    try:
        names = [node.findtext("name") for node in ElementTree.parse(path).iterfind("object")]
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # or an unknown encoding
        raise ValueError(f"{path}: damaged annotation ({error}); copy it again") from error
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise ValueError(
            f"{path}: unknown class {unknown[0]!r}; pass the data set's own `classes`. "
            f"Known: {', '.join(classes)}"
        )
    return frozenset(name for name in names if name is not None)
