"""Makes a gallery of a study's rows: image, CAM, seed, masks, ground truth, errors.

Records have counts but no masks. So a gallery trains the rows that it shows again, with one seed,
and keeps thumbnails of typical and of the worst training images. Both are chosen by the scores of
the first row, with ground truth; a gallery is for illustration only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import torch

from bench.errors import BenchError
from bench.gallery.index import GalleryIndex, Shown, write_gallery
from bench.gallery.pictures import cam_picture, error_picture, image_picture, mask_picture
from bench.runs.provenance import checkout_state
from weakclip.config import WeakCLIPConfig
from weakclip.ops.confusion import class_counts, miou

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from bench.studies.study import Study
    from bench.tasks.task import ImageWorkbench

SPLIT = "train"
LIMIT = 6_000_000
"""Largest total size of the pictures, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRequest:
    """The rows and images of a gallery."""

    study: Study
    variants: tuple[str, ...]
    """Names of rows; typical and worst images are chosen by the scores of the first."""
    seed: int
    worst: int
    """Number of worst images; there is at most one typical image per class."""


def make_gallery(
    request: GalleryRequest,
    workbench: ImageWorkbench,
    root: Path,
    *,
    report: Callable[[str, int, int], None],
) -> GalleryIndex:
    """Train the rows, and write their pictures and the index to a results folder.

    An older gallery is replaced. `report` is called with (row, steps done, number of steps).

    Raises:
        BenchError: If a row is not a WeakCLIP configuration, or the pictures exceed `LIMIT`.
    """
    masks = {}
    for name in request.variants:
        (row,) = request.study.select((name,))
        if not isinstance(row.config, WeakCLIPConfig):
            kind = type(row.config).__name__
            raise BenchError(f"gallery: expected rows that configure WeakCLIP, got {name}: {kind}")
        told = partial(report, name)
        masks[name] = train_masks(workbench, row.config, request.seed, report=told)
    scores = {name: image_scores(pred, workbench) for name, pred in masks.items()}
    first = scores[request.variants[0]]
    chosen = {
        "typical": typical_images(first, workbench.images["pseudo"].image_labels),
        "worst": first.argsort(stable=True)[: request.worst].tolist(),
    }
    pictures, shown = _pictures(workbench, chosen, masks, scores)
    commit, dirty = checkout_state()
    index = GalleryIndex(
        study=request.study.name,
        variants=request.variants,
        seed=request.seed,
        preset=workbench.preset.name,
        split=SPLIT,
        commit=commit or "unknown",
        dirty=bool(dirty),
        images=tuple(shown),
    )
    size = sum(map(len, pictures.values()))
    if size > LIMIT:
        raise BenchError(
            f"gallery: expected at most {LIMIT} bytes of pictures, got {size}; show fewer with "
            "--worst or --variants"
        )
    write_gallery(root, index, pictures)
    return index


def train_masks(
    workbench: ImageWorkbench,
    config: WeakCLIPConfig,
    seed: int,
    *,
    report: Callable[[int, int], None],
) -> list[Tensor]:
    """Train a configuration as in a run; return its masks of `pseudo`, (H, W) int64 each.

    The masks are those of the task `train-pseudo`: restricted to the tags, without dense CRF.
    """
    fitted = workbench.fitting.method(config, seed, {}, report)
    rows = range(len(workbench.images["pseudo"]))
    found = {each.image: each.masks for each in workbench.scoring.masks(fitted, "pseudo", rows)}
    return [found[index][0].long() for index in rows]


def image_scores(pred: Sequence[Tensor], workbench: ImageWorkbench) -> Tensor:
    """Return the mIoU of each image over the classes present or predicted in it, (N,)."""
    classes, truth = len(workbench.class_names), workbench.scoring.truth("pseudo", range(len(pred)))
    return torch.stack(
        [
            miou(class_counts(mask[None], gt[None], classes)[0])
            for mask, gt in zip(pred, truth, strict=True)
        ]
    )


def typical_images(scores: Tensor, image_labels: Tensor) -> list[int]:
    """Return for each class the image with the median score among those tagged with it.

    Scores are (N,) and tags (N, F), bool. The indices are without repeats, in the order of classes.

    Example:
        >>> labels = torch.tensor([[True, False], [True, True], [True, False]])
        >>> typical_images(torch.tensor([0.3, 0.9, 0.5]), labels)
        [2, 1]
    """
    chosen: dict[int, None] = {}
    for tagged in image_labels.T:
        rows = tagged.nonzero()[:, 0]
        if len(rows):
            ranked = rows[scores[rows].argsort(stable=True)]
            chosen[int(ranked[(len(ranked) - 1) // 2])] = None
    return list(chosen)


def _pictures(
    workbench: ImageWorkbench,
    chosen: dict[str, list[int]],
    masks: dict[str, list[Tensor]],
    scores: dict[str, Tensor],
) -> tuple[dict[str, bytes], list[Shown]]:
    data = workbench.images["pseudo"]
    names = [PurePosixPath(name).stem for name in data.files.names]
    cams, seeds = workbench.fitting.clip_maps("pseudo"), workbench.fitting.seeds("pseudo")
    seed_of = dict(zip(seeds.indices, range(len(seeds)), strict=True))
    pictures: dict[str, bytes] = {}
    shown = []
    for why, rows in chosen.items():
        for row in rows:
            image, (gt,) = data.image(row), workbench.scoring.truth("pseudo", (row,))
            drawn = {
                "image.webp": image_picture(image),
                "cam.webp": cam_picture(image, cams[row]),
                "seed.png": mask_picture(seeds[seed_of[row]]),
                "gt.png": mask_picture(gt),
            }
            for name, pred in masks.items():
                drawn[f"mask-{name}.png"] = mask_picture(pred[row])
                drawn[f"error-{name}.png"] = error_picture(pred[row], gt)
            pictures |= {f"{names[row]}-{what}": content for what, content in drawn.items()}
            tags = zip(workbench.class_names[1:], data.image_labels[row], strict=True)
            shown.append(
                Shown(
                    name=names[row],
                    why=why,
                    tags=tuple(name for name, present in tags if present),
                    scores={name: round(float(s[row]), 4) for name, s in scores.items()},
                    files={what.rpartition(".")[0]: f"{names[row]}-{what}" for what in drawn},
                )
            )
    return pictures, shown
