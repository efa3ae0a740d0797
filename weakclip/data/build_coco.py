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

from weakclip.data.atomic import write_text
from weakclip.data.build import Archive, MaskJob, shortfall
from weakclip.data.coco import COCO_CATEGORIES, coco_classes, read_instances
from weakclip.data.coco_masks import class_mask
from weakclip.data.tagged import relative_name

if TYPE_CHECKING:
    from pathlib import Path

    from weakclip.data.coco import CocoImage, Instances, Numbering
    from weakclip.data.coco_masks import Crowd

PAGE = "https://cocodataset.org/#download"
ANNOTATIONS_ARCHIVE = Archive(name="annotations_trainval2014.zip", page=PAGE)
OFFICIAL: dict[str, tuple[int, int]] = {"train2014": (82783, 82081), "val2014": (40504, 40137)}
"""Images in all, and images with an annotation, by split."""
MASKS = "SegmentationClass"


@dataclass(frozen=True, slots=True, kw_only=True)
class COCOSources:
    """An instances JSON and its images."""

    split: str
    """Name of the lists: the file's name without `instances_`."""
    instances: Instances
    images: Path

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
        raise FileNotFoundError(f"{images}: no such folder; unpack {_images_archive(split)}")
    instances = read_instances(annotations)
    for image in instances.images:
        relative_name(image.file_name, f"{annotations.name}: image {image.id}")
    return COCOSources(split=split, instances=instances, images=images)


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
    archive = _images_archive(sources.split)
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


def image_id(image: CocoImage) -> str:
    """Name of an image without its suffix, e.g. COCO_train2014_000000000009."""
    return PurePosixPath(image.file_name).stem


def _images_archive(split: str) -> Archive:
    return Archive(name=f"{split}.zip", page=PAGE)
