"""The images of a preset: the lists of a data set by role, and the folders of drawn images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cartoon.write import ensure_voc
from bench.errors import BenchError
from bench.studies.preset import load_preset
from bench.tasks.counts import remove
from bench.tasks.own import OwnImages, part_of
from weakclip.data.artifacts import content_key
from weakclip.data.build.coco import MASKS
from weakclip.data.read.coco import list_coco
from weakclip.data.read.voc import list_voc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.studies.preset import Generated, Preset
    from weakclip.data.read.tagged import TaggedFiles

WAY_OUT = "docs/data.md says where the files are published and how the folder is made"


def open_splits(
    preset: Preset, root: Path | OwnImages | None, artifacts: Path
) -> dict[str, TaggedFiles]:
    """The lists of a data set by role; CartoonVOC is drawn if no folder is given.

    Raises:
        BenchError: If a folder is needed and not given, or a list has images that cannot be used.
        FileNotFoundError: If a list or a folder is missing.
        ValueError: If a file is malformed.
    """
    drawn = preset.generated
    if root is None and drawn is None:
        what = "your images" if preset.data == "folder" else preset.data.upper()
        raise BenchError(
            f"preset {preset.name!r}: expected --data-root, the folder of {what}; {WAY_OUT}"
        )
    if preset.data == "folder" and root is not None:
        return (root if isinstance(root, OwnImages) else OwnImages(root=root)).splits()
    if isinstance(root, OwnImages):
        raise BenchError(
            f"preset {preset.name!r}: --tags, --masks, --classes and --val are of --preset folder; "
            "other data sets have places of their own for them"
        )
    if root is None and drawn is not None:
        root = drawn_folder(drawn, artifacts)
        ensure_voc(root, drawn.world, seed=drawn.seed, splits=dict(drawn.images))
    assert root is not None
    opened = {split: _read(preset, root, split) for split in set(preset.splits.values())}
    return {role: opened[split] for role, split in preset.splits.items()}


def given_maps(preset: Preset, root: Path | None) -> Path:
    """The folder of the ready-made maps of a preset.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    folder = Path(preset.maps) if root is None else root / preset.maps
    if not folder.is_dir():
        raise FileNotFoundError(f"maps={preset.maps}: no such folder ({folder})")
    return folder


def drawn_folder(drawn: Generated, artifacts: Path) -> Path:
    """The folder of the images that a preset draws."""
    key = content_key(asdict(drawn.world), drawn.seed, dict(drawn.images))
    return artifacts / f"cartoonvoc-{key}"


def redrawn_folder(drawn: Generated, seed: int, artifacts: Path) -> Path:
    """The folder of the redrawn training images of a seed and of everything made from them."""
    key = content_key(asdict(drawn.world), drawn.of_seed(seed).seed, dict(drawn.images))
    return artifacts / f"redrawn-{key}"


def forget_redrawn(preset: str, seed: int, artifacts: Path) -> None:
    """Remove the redrawn training images of a seed and everything made from them."""
    drawn = load_preset(preset).generated
    if drawn is not None and drawn.redrawn:
        remove([redrawn_folder(drawn, seed, artifacts)])


def places_in_train(preset: Preset, splits: Mapping[str, TaggedFiles]) -> list[int]:
    """The index in `train` of each image of `pseudo`.

    Raises:
        BenchError: If an image of a scored split has no annotated mask, no image of `train`
            has a tag, or one of `pseudo` is not in `train`.
    """
    for role in ("pseudo", "val"):
        files = splits[role]
        bare = [image for image, mask in zip(files.names, files.masks, strict=True) if not mask]
        if bare:
            raise BenchError(
                f"split {preset.splits[role]!r}: expected a mask of every image, got none of "
                f"{len(bare)} of {len(files)}, first {bare[0]}; see `weakclip check`"
            )
    if not splits["train"].image_labels.any():
        raise BenchError(f"split {preset.splits['train']!r}: no image has a tag")
    where = {name: index for index, name in enumerate(splits["train"].names)}
    strange = [name for name in splits["pseudo"].names if name not in where]
    if strange:
        raise BenchError(
            f"split {preset.splits['pseudo']!r}: expected images of "
            f"{preset.splits['train']!r}, which have maps; got {strange[0]} and "
            f"{len(strange) - 1} more that are not in it"
        )
    return [where[name] for name in splits["pseudo"].names]


def _read(preset: Preset, root: Path, split: str) -> TaggedFiles:
    """A split in VOC's layout, or in COCO's with masks made by `weakclip data coco`."""
    if preset.data == "coco":
        annotations = root / "annotations" / f"instances_{split}.json"
        files = list_coco(annotations, root / split, masks=root / MASKS)
        # images without an annotated object are neither trained on nor scored
        files = part_of(files, files.image_labels.any(dim=1).nonzero()[:, 0].tolist())
    else:
        files = list_voc(root, split)
    if files.problems:
        first = files.problems[0]
        raise BenchError(
            f"split {split!r}: {len(files.problems)} of its images cannot be used, first "
            f"{first.name}: {first.reason}; {WAY_OUT}"
        )
    return files
