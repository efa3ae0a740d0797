"""COCO 2014's class masks, lists and tags from its instances JSON.

Every image of the JSON gets a mask, in its sub-folder; without annotations it is all background.
The list `{split}.txt` contains the annotated images, on which weakly-supervised methods are trained
and scored (82,081 and 40,137); `{split}-all.txt` contains all images (82,783 and 40,504).

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.atomic import write_text
from weakclip.data.build.archive import Archive, Member, shortfall
from weakclip.data.build.coco_fit import fitted
from weakclip.data.build.coco_masks import class_mask
from weakclip.data.build.job import MaskJob, write_tag_table
from weakclip.data.read.coco import COCO_CATEGORIES, coco_classes
from weakclip.data.read.coco_json import read_instances
from weakclip.data.read.csv_table import split_cell
from weakclip.data.read.tagged import BadImage
from weakclip.progress import silent

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.data.build.coco_masks import Crowd
    from weakclip.data.read.instances import CocoImage, Instances, Numbering
    from weakclip.progress import Report

PAGE = "https://cocodataset.org/#download"
ANNOTATIONS_ARCHIVE = Archive(
    name="annotations_trainval2014.zip", page=PAGE, md5="0a379cfc70b0e71301e0f377548639bd",
    size=252_872_794,
)  # fmt: skip
IMAGE_ARCHIVES = {
    "train2014": Archive(
        name="train2014.zip", page=PAGE, md5="0da8c0bd3d6becc4dcb32757491aca88",
        size=13_510_573_713,
    ),
    "val2014": Archive(
        name="val2014.zip", page=PAGE, md5="a3d79f5ed8d289b7a7554ce06a5782b3", size=6_645_013_297
    ),
}  # fmt: skip
"""Sizes from tensorflow/datasets, url_checksums/coco.txt; MD5 from PaddlePaddle's downloader of
COCO, those of the images also from LAVIS."""
OFFICIAL: dict[str, tuple[int, int]] = {"train2014": (82783, 82081), "val2014": (40504, 40137)}
"""By split: number of images, and number of annotated images."""
MASKS = "SegmentationClass"


@dataclass(frozen=True, slots=True, kw_only=True)
class COCOSources:
    """An instances JSON and its images."""

    split: str
    """Name of the lists: the stem of the JSON without `instances_`."""
    instances: Instances
    annotations: Path
    """Path of the JSON."""
    images: Path

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The published archives of these sources."""
        images = IMAGE_ARCHIVES.get(self.split)
        return (ANNOTATIONS_ARCHIVE, *([images] if images else []))

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """Ids (paths without suffix) of the annotated images, and of all images."""
        every = self.instances.images
        annotated = tuple(image for image in every if self.instances.objects.get(image.id))
        return {
            self.split: tuple(image_id(image) for image in annotated),
            f"{self.split}-all": tuple(image_id(image) for image in every),
        }


def read_sources(annotations: Path, images: Path, *, report: Report = silent) -> COCOSources:
    """Read the JSON and the header of every image, because a mask has the size of its file.

    `file_name` is relative to `images`; a missing image has the size stated in the JSON.

    Raises:
        FileNotFoundError: If the JSON or the folder is missing; says where it is published.
        ValueError: If the JSON is malformed, two images would have the same mask file, or there is
            nothing to paint.
    """
    split = annotations.stem.removeprefix("instances_")
    if not annotations.is_file():
        raise FileNotFoundError(f"{annotations}: no such file; unpack {ANNOTATIONS_ARCHIVE}")
    if not images.is_dir():
        archive = IMAGE_ARCHIVES.get(split, f"{split}.zip from {PAGE}")
        raise FileNotFoundError(f"{images}: no such folder; unpack {archive}")
    try:
        instances = fitted(read_instances(annotations), images, report=report)
        _check_names(instances)
    except ValueError as error:
        where = str(annotations)
        raise ValueError(
            f"{error}" if str(error).startswith(where) else f"{where}: {error}"
        ) from error
    return COCOSources(split=split, instances=instances, annotations=annotations, images=images)


def _check_names(instances: Instances) -> None:
    """Raise unless every image has its own mask file and every tag can be written to a CSV."""
    by_mask: dict[str, CocoImage] = {}
    for image in instances.images:
        other = by_mask.setdefault(image_id(image), image)
        if other is not image:
            raise ValueError(
                f"images {other.file_name!r} and {image.file_name!r} would both have the mask "
                f"{image_id(image)}.png; rename one, in the JSON too"
            )
    for name in instances.categories.values():
        if split_cell(name) != (name,):
            raise ValueError(
                f"category {name!r}: expected a name without ';', '|' and ',', which separate the "
                "tags of a CSV; rename it in the JSON"
            )


def twins(instances: Instances) -> tuple[str, ...]:
    """Groups of masks whose names differ only in case or Unicode form, one line per group."""
    groups: dict[str, list[str]] = defaultdict(list)
    for image in instances.images:
        name = image_id(image)
        groups[unicodedata.normalize("NFC", name).casefold()].append(f"{name}.png")
    return tuple(
        f"masks {' and '.join(map(ascii, names))} differ in case or Unicode form only: where file "
        "names do not, one would replace the other"
        for names in groups.values()
        if len(names) > 1
    )


def doubts(sources: COCOSources, crowd: Crowd) -> tuple[BadImage, ...]:
    """Problems that affect the masks as a whole."""
    every = [one for several in sources.instances.objects.values() for one in several]
    if crowd == "class" or not every or not all(one.crowd for one in every):
        return ()
    reason = (
        f"all {len(every)} annotations are crowds (iscrowd 1), which become 255: no pixel has a "
        "class; give --crowd class if they are objects"
    )
    return (BadImage(sources.annotations.name, reason),)


def missing_pieces(sources: COCOSources) -> tuple[str, ...]:
    """Differences from the published data set, one line each."""
    if sources.split not in OFFICIAL:
        return (
            f"split {sources.split!r}: expected instances_train2014.json or "
            f"instances_val2014.json; published as {ANNOTATIONS_ARCHIVE}",
        )
    every, annotated = OFFICIAL[sources.split]
    instances = sources.instances
    there = sum((sources.images / image.file_name).is_file() for image in instances.images)
    wrong = set(COCO_CATEGORIES.items()) ^ set(instances.categories.items())
    archive = IMAGE_ARCHIVES[sources.split]
    return (
        *shortfall("images in the JSON", len(instances.images), every, ANNOTATIONS_ARCHIVE),
        *shortfall("images with annotations", len(sources.lists[sources.split]), annotated,
                   ANNOTATIONS_ARCHIVE),
        *shortfall("categories that are not COCO's", len(wrong), 0, ANNOTATIONS_ARCHIVE),
        *shortfall("image files", there, len(instances.images), archive),
    )  # fmt: skip


def mask_jobs(sources: COCOSources, numbering: Numbering, crowd: Crowd) -> list[MaskJob]:
    """One job per image of the JSON; a ValueError if a label does not fit into a mask."""
    instances = sources.instances
    labels = instances.labels(numbering)
    return [
        MaskJob(
            image_id=image_id(image),
            make=partial(
                class_mask, instances.objects.get(image.id, ()), image.size, labels, crowd=crowd
            ),
        )
        for image in instances.images
    ]


def write_tags(out: Path, sources: COCOSources, numbering: Numbering) -> None:
    """Write `labels-{split}.csv` (file,labels) and `classes.txt`, one class per line, by label."""
    instances = sources.instances
    tags = {image.file_name: instances.tags(image.id) for image in instances.images}
    write_tag_table(out / f"labels-{sources.split}.csv", tags)
    names = coco_classes(instances.categories, numbering)
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in names))


def archive_members(sources: COCOSources) -> tuple[Member, ...]:
    """The JSON, from which masks, lists and tags are made, as a member of its archive."""
    name = f"annotations/{sources.annotations.name}"
    return (Member(archive=ANNOTATIONS_ARCHIVE, name=name, file=sources.annotations),)


def image_id(image: CocoImage) -> str:
    """Name of an image without its suffix, e.g. COCO_train2014_000000000009 or folder/a."""
    return PurePosixPath(image.file_name).with_suffix("").as_posix()
