"""COCO 2014's class masks, lists and tags from its instances JSON.

Every image of the JSON gets a mask, all background if nothing is annotated. The list
`{split}.txt` names the images with an annotation, on which weakly-supervised methods are trained
and scored (82,081 and 40,137); `{split}-all.txt` names all (82,783 and 40,504).

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from weakclip.data.build.archive import Archive, Member, shortfall
from weakclip.data.atomic import write_text
from weakclip.data.build.job import MaskJob
from weakclip.data.read.coco import COCO_CATEGORIES, coco_classes, read_instances
from weakclip.data.build.coco_masks import class_mask
from weakclip.data.read.tagged import relative_name

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.data.read.coco import CocoImage, Instances, Numbering
    from weakclip.data.build.coco_masks import Crowd

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
"""Sizes by tensorflow/datasets, url_checksums/coco.txt; MD5 by PaddlePaddle's downloader of COCO,
the images' also by LAVIS."""
OFFICIAL: dict[str, tuple[int, int]] = {"train2014": (82783, 82081), "val2014": (40504, 40137)}
"""Images in all, and images with an annotation, by split."""
MASKS = "SegmentationClass"


@dataclass(frozen=True, slots=True, kw_only=True)
class COCOSources:
    """An instances JSON and its images."""

    split: str
    """Name of the lists: the file's name without `instances_`."""
    instances: Instances
    annotations: Path
    """The JSON."""
    images: Path

    @property
    def archives(self) -> tuple[Archive, ...]:
        """What these are published as."""
        images = IMAGE_ARCHIVES.get(self.split)
        return (ANNOTATIONS_ARCHIVE, *([images] if images else []))

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """Ids (names without suffix) of the annotated images, and of all."""
        every = self.instances.images
        annotated = tuple(image for image in every if self.instances.objects.get(image.id))
        return {
            self.split: tuple(image_id(image) for image in annotated),
            f"{self.split}-all": tuple(image_id(image) for image in every),
        }


def read_sources(annotations: Path, images: Path) -> COCOSources:
    """Read the JSON; no image is opened.

    Raises:
        FileNotFoundError: If the JSON or the folder is missing; says where it is published.
        ValueError: If the JSON is malformed or names a file outside the folder.
    """
    split = annotations.stem.removeprefix("instances_")
    if not annotations.is_file():
        raise FileNotFoundError(f"{annotations}: no such file; unpack {ANNOTATIONS_ARCHIVE}")
    if not images.is_dir():
        archive = IMAGE_ARCHIVES.get(split, f"{split}.zip from {PAGE}")
        raise FileNotFoundError(f"{images}: no such folder; unpack {archive}")
    instances = read_instances(annotations)
    for image in instances.images:
        relative_name(image.file_name, f"{annotations.name}: image {image.id}")
    return COCOSources(split=split, instances=instances, annotations=annotations, images=images)


def missing_pieces(sources: COCOSources) -> tuple[str, ...]:
    """What differs from the published data set, a line each; empty if nothing does."""
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
    """One job per image of the JSON, in its order.

    Raises:
        ValueError: If a label of this numbering does not fit into a mask.
    """
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
    """Write `labels-{split}.csv` (file,labels) and `classes.txt`, one class a line in label order.

    Raises:
        OSError: If a file cannot be written.
    """
    instances = sources.instances
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "labels"))
    for image in instances.images:
        writer.writerow((image.file_name, ";".join(sorted(instances.tags(image.id)))))
    write_text(out / f"labels-{sources.split}.csv", text.getvalue())
    names = coco_classes(instances.categories, numbering)
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in names))


def archive_members(sources: COCOSources) -> tuple[Member, ...]:
    """The JSON, which decides everything, as it lies in its archive."""
    name = f"annotations/{sources.annotations.name}"
    return (Member(archive=ANNOTATIONS_ARCHIVE, name=name, file=sources.annotations),)


def image_id(image: CocoImage) -> str:
    """Name of an image without its suffix, e.g. COCO_train2014_000000000009."""
    return PurePosixPath(image.file_name).stem
