"""PASCAL VOC 2012 with SBD: `SegmentationClassAug` and the lists train, trainaug and val.

If both data sets have a mask of an image, VOC's is used, with its void border (255); SBD's masks
have none. `trainaug` is every image annotated by either, except VOC's val: 10,582, sorted by id.

References:
    Everingham et al. 2010, The PASCAL Visual Object Classes (VOC) Challenge.
    Hariharan et al. 2011, Semantic Contours from Inverse Detectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from weakclip.data.atomic import write_text
from weakclip.data.build.archive import Archive, Member, shortfall
from weakclip.data.build.job import LISTS, MaskJob, write_tag_table
from weakclip.data.build.sbd import read_sbd_mask, sbd_masks
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.images import image_size
from weakclip.data.read.voc import VOC_CLASSES, read_tags, voc_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

VOC_ARCHIVE = Archive(
    name="VOCtrainval_11-May-2012.tar",
    page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    md5="6cd6e144f989b92b3379bac3b3de84fd",  # torchvision, datasets/voc.py
    size=1_999_639_040,  # tensorflow/datasets, url_checksums/voc.txt
)
SBD_ARCHIVE = Archive(
    name="benchmark.tgz",
    page="http://home.bharathh.info/pubs/codes/SBD/download.html",
    md5="82b4d87ceb2ed10f6038a1cba92111cb",  # torchvision, datasets/sbd.py
    size=1_419_539_633,  # as reported when downloading it
)
ARCHIVES = (VOC_ARCHIVE, SBD_ARCHIVE)
TRAIN, VAL, SBD, TRAINAUG = 1464, 1449, 11355, 10582
MASKS = "SegmentationClassAug"


@dataclass(frozen=True, slots=True, kw_only=True)
class VOCSources:
    """Content of the two data sets."""

    voc: Path
    train: tuple[str, ...]
    val: tuple[str, ...]
    sbd: dict[str, Path]
    """SBD's class masks by image id."""

    @property
    def trainaug(self) -> tuple[str, ...]:
        """All annotated ids except VOC's val, sorted."""
        return tuple(sorted({*self.train, *self.sbd} - set(self.val)))

    @property
    def every(self) -> tuple[str, ...]:
        """All annotated ids, sorted."""
        return tuple(sorted({*self.train, *self.val, *self.sbd}))

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """The three lists by name."""
        return {"train": self.train, "trainaug": self.trainaug, "val": self.val}


def read_sources(voc: Path, sbd: Path) -> VOCSources:
    """List the contents of both data sets; no mask is opened.

    `voc` is the folder of JPEGImages, e.g. VOCdevkit/VOC2012, and `sbd` that of cls, e.g.
    benchmark_RELEASE/dataset.

    Raises:
        FileNotFoundError: If a folder is missing; says where the data set is published.
        ValueError: If a list is missing or malformed.
    """
    needed = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
    missing = [name for name in needed if not (voc / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{voc}: {', '.join(missing)} is missing; unpack {VOC_ARCHIVE} and give VOC2012 of it"
        )
    try:
        masks = sbd_masks(sbd)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}: {SBD_ARCHIVE}") from error
    return VOCSources(voc=voc, train=voc_ids(voc, "train"), val=voc_ids(voc, "val"), sbd=masks)


def missing_pieces(sources: VOCSources) -> tuple[str, ...]:
    """Differences from the published data sets, one line each."""
    jpegs = [one for one in sources.every if not _image(sources.voc, one).is_file()]
    own = [one for one in (*sources.train, *sources.val) if not _mask(sources.voc, one).is_file()]
    annotated = len(sources.train) + len(sources.val)
    return (
        *shortfall("VOC list train", len(sources.train), TRAIN, VOC_ARCHIVE),
        *shortfall("VOC list val", len(sources.val), VAL, VOC_ARCHIVE),
        *shortfall("images in VOC's lists twice", len({*sources.train} & {*sources.val}), 0,
                   VOC_ARCHIVE),
        *shortfall("ids by which trainval is not train and val", _unlike_trainval(sources), 0,
                   VOC_ARCHIVE),
        *shortfall("SBD class masks", len(sources.sbd), SBD, SBD_ARCHIVE),
        *shortfall("list trainaug", len(sources.trainaug), TRAINAUG, SBD_ARCHIVE),
        *shortfall("JPEGImages", len(sources.every) - len(jpegs), len(sources.every), VOC_ARCHIVE),
        *shortfall("SegmentationClass", annotated - len(own), annotated, VOC_ARCHIVE),
    )  # fmt: skip


def archive_members(sources: VOCSources) -> tuple[Member, ...]:
    """VOC's lists as members of its archive."""
    return tuple(
        Member(archive=VOC_ARCHIVE, name=f"VOCdevkit/VOC2012/{name}", file=sources.voc / name)
        for name in (f"{LISTS}/train.txt", f"{LISTS}/val.txt")
    )


def mask_jobs(sources: VOCSources) -> list[MaskJob]:
    """One job per annotated image, sorted by id."""
    return [
        MaskJob(image_id=one, make=partial(_make, sources.voc, one, _source(sources, one)))
        for one in sources.every
    ]


def untagged(sources: VOCSources) -> tuple[str, ...]:
    """A line about annotated images without an annotation XML, which have no tags."""
    ids = [one for one in sources.every if not _annotation(sources.voc, one).is_file()]
    if not ids:
        return ()
    return (
        f"{len(ids)} images have no annotation, so labels-*.csv have no tags of them, first "
        f"{ids[0]}; unpack {VOC_ARCHIVE} again",
    )


def prepare(out: Path, sources: VOCSources) -> None:
    """Link missing folders, and write `labels-{split}.csv` and `classes.txt` for folder readers.

    File names are relative to JPEGImages.

    Raises:
        ValueError: If an annotation is damaged.
    """
    for name in ("JPEGImages", "Annotations", "SegmentationClass"):
        if not (out / name).exists() and (sources.voc / name).is_dir():
            (out / name).symlink_to((sources.voc / name).resolve(), target_is_directory=True)
    for split, ids in sources.lists.items():
        files = {one: _annotation(sources.voc, one) for one in ids}
        tags = {
            f"{one}.jpg": read_tags(path, VOC_CLASSES) if path.is_file() else frozenset()
            for one, path in files.items()
        }
        write_tag_table(out / f"labels-{split}.csv", tags)
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in VOC_CLASSES))


def _unlike_trainval(sources: VOCSources) -> int:
    """Number of ids that are in VOC's list trainval or in train and val, but not in both."""
    if not (sources.voc / LISTS / "trainval.txt").is_file():
        return 0
    return len({*voc_ids(sources.voc, "trainval")} ^ {*sources.train, *sources.val})


def _source(sources: VOCSources, image_id: str) -> Callable[[], NDArray[np.uint8]]:
    own = _mask(sources.voc, image_id)
    if own.is_file() or image_id not in sources.sbd:
        return partial(read_mask, own)
    return partial(read_sbd_mask, sources.sbd[image_id])


def _make(voc: Path, image_id: str, read: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The mask of an image; it must have the size of the image."""
    size = image_size(_image(voc, image_id))
    try:
        mask = read()
    except FileNotFoundError as error:
        raise ValueError(f"{error}; unpack {VOC_ARCHIVE} again") from error
    if mask.shape != size:
        raise ValueError(
            f"{image_id}: expected a mask of its image's size {size}, got {mask.shape}; "
            "unpack both archives again"
        )
    return mask


def _image(voc: Path, image_id: str) -> Path:
    return voc / "JPEGImages" / f"{image_id}.jpg"


def _annotation(voc: Path, image_id: str) -> Path:
    return voc / "Annotations" / f"{image_id}.xml"


def _mask(voc: Path, image_id: str) -> Path:
    return voc / "SegmentationClass" / f"{image_id}.png"
