"""Pictures of what a study's rows do: image, CAM, seed, masks, ground truth, errors.

Records hold counts and no pictures, so a gallery trains the rows it shows once more, with one seed,
and keeps thumbnails of the typical and of the worst training images. Both choices, by the scores of
the first row, look at the ground truth: a gallery shows, it measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.errors import BenchError
from bench.gallery.index import FILE, FOLDER, GalleryIndex, Shown, index_text
from bench.gallery.pictures import cam_picture, error_picture, image_picture, mask_picture
from bench.runs.provenance import checkout_state
from bench.runs.store import write_atomically
from bench.tasks.bank import BankBatches
from bench.tasks.maps import CHUNK
from bench.tasks.task import make_cams
from weakclip.config import SeedAndBoundary, WeakCLIPConfig
from weakclip.data.read.voc import voc_ids
from weakclip.network.build import build_model
from weakclip.ops.confusion import class_counts, miou
from weakclip.training.loop import fit
from weakclip.training.losses import build_supervision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from bench.studies.study import Study
    from bench.tasks.task import CartoonWorkbench

SPLIT = "train"
LIMIT = 6_000_000
"""Bytes of all pictures together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRequest:
    """What to show."""

    study: Study
    variants: tuple[str, ...]
    """Names of its rows; the first decides which images are typical and which are worst."""
    seed: int
    worst: int
    """Number of worst images; typical ones are one per class."""


def make_gallery(
    request: GalleryRequest,
    workbench: CartoonWorkbench,
    root: Path,
    *,
    report: Callable[[str, int, int], None],
) -> GalleryIndex:
    """Train the rows and write their pictures and index below a results folder.

    Args:
        request: What to show.
        workbench: Data and weights.
        root: The results folder; an older gallery in it is replaced.
        report: Called with (row, steps done, steps in all).

    Raises:
        BenchError: If a row is not a WeakCLIP configuration, or the pictures take too much room.
    """
    masks = {
        row.name: train_masks(
            workbench, _config(row.name, row.config), request.seed, report=partial(report, row.name)
        )
        for name in request.variants
        for row in request.study.select((name,))
    }
    scores = {name: image_scores(pred, workbench) for name, pred in masks.items()}
    first = scores[request.variants[0]]
    chosen = {
        "typical": typical_images(first, workbench.train.image_labels),
        "worst": first.argsort(stable=True)[: request.worst].tolist(),
    }
    pictures, shown = _pictures(workbench, chosen, masks, scores)
    index = _index(request, workbench, shown)
    _write(root / FOLDER, pictures, index)
    return index


def train_masks(
    workbench: CartoonWorkbench,
    config: WeakCLIPConfig,
    seed: int,
    *,
    report: Callable[[int, int], None],
) -> Tensor:
    """Train a configuration as a run does and return its masks of `train`, (N, H, W), int64.

    The masks are those of the task `train-pseudo`: tags known, no dense CRF.
    """
    bank, _ = workbench.features(config)
    recipe, spec = workbench.preset.recipe, config.supervision
    torch.manual_seed(seed)
    model = build_model(config, workbench.clip, workbench.class_names, seed=seed)
    crf = spec.crf if isinstance(spec, SeedAndBoundary) else None
    batches = BankBatches(bank, batch_size=recipe.batch_size, seed=seed, crf=crf)
    fit(model, build_supervision(spec, config.tau), batches, recipe, report=report)
    features, split = bank.plain(), workbench.train
    known = F.pad(split.image_labels, (1, 0), value=True)[:, :, None, None]
    masks = []
    with torch.no_grad():
        text = model.text()
        for start in range(0, len(split.images), CHUNK):
            rows = slice(start, start + CHUNK)
            logits = model(features.select(rows), text=text).logits
            logits = F.interpolate(logits, split.size, mode="bilinear", align_corners=False)
            masks.append((logits.softmax(1).cpu() * known[rows]).argmax(1))
    return torch.cat(masks)


def image_scores(pred: Tensor, workbench: CartoonWorkbench) -> Tensor:
    """Return the mIoU of each image over the classes present or predicted in it, (N,)."""
    counts = class_counts(pred, workbench.train.gt_masks, len(workbench.class_names))
    return miou(counts)


def typical_images(scores: Tensor, image_labels: Tensor) -> list[int]:
    """Return for each class the image with the median score among those tagged with it.

    Args:
        scores: (N,).
        image_labels: Tags, (N, F), bool.

    Returns:
        Row numbers, each once, in the order of the classes.

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


def _config(name: str, config: object) -> WeakCLIPConfig:
    if not isinstance(config, WeakCLIPConfig):
        raise BenchError(
            f"gallery: expected rows that configure WeakCLIP, got {name}: {type(config).__name__}"
        )
    return config


def _pictures(
    workbench: CartoonWorkbench,
    chosen: dict[str, list[int]],
    masks: dict[str, Tensor],
    scores: dict[str, Tensor],
) -> tuple[dict[str, bytes], list[Shown]]:
    split, preset = workbench.train, workbench.preset
    names = voc_ids(workbench.root, SPLIT)
    cams = make_cams(workbench.clip, split, preset.source, preset.template, workbench.device)
    pictures: dict[str, bytes] = {}
    shown = []
    for why, rows in chosen.items():
        for row in rows:
            image, gt = split.images[row], split.gt_masks[row]
            drawn = {
                "image.webp": image_picture(image),
                "cam.webp": cam_picture(image, cams[row]),
                "seed.png": mask_picture(workbench.seeds[row]),
                "gt.png": mask_picture(gt),
            }
            for name, pred in masks.items():
                drawn[f"mask-{name}.png"] = mask_picture(pred[row])
                drawn[f"error-{name}.png"] = error_picture(pred[row], gt)
            pictures |= {f"{names[row]}-{what}": content for what, content in drawn.items()}
            tags = zip(workbench.class_names[1:], split.image_labels[row], strict=True)
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


def _index(
    request: GalleryRequest, workbench: CartoonWorkbench, shown: Sequence[Shown]
) -> GalleryIndex:
    commit, dirty = checkout_state()
    return GalleryIndex(
        study=request.study.name,
        variants=request.variants,
        seed=request.seed,
        preset=workbench.preset.name,
        split=SPLIT,
        commit=commit or "unknown",
        dirty=bool(dirty),
        images=tuple(shown),
    )


def _write(folder: Path, pictures: dict[str, bytes], index: GalleryIndex) -> None:
    """Write the pictures, then the index, then remove what the index does not name."""
    size = sum(map(len, pictures.values()))
    if size > LIMIT:
        raise BenchError(
            f"gallery: expected at most {LIMIT} bytes of pictures, got {size}; show fewer with "
            "--worst or --variants"
        )
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    write_atomically(folder / FILE, index_text(index).encode())
    for path in folder.iterdir():
        if path.name not in {FILE, *pictures}:
            path.unlink()
