"""Pixel counts of images, computed by several processes.

No image is left out silently: one without ground truth or prediction, or with a prediction of
another size, becomes a finding.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch

from weakclip.data.formats.masks import read_mask
from weakclip.evaluation import kinds
from weakclip.labels import BACKGROUND, IGNORE
from weakclip.ops.cells import contour_bands, count_cells
from weakclip.ops.confusion import boundary_counts, boundary_width, class_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import BaseContext

    from numpy.typing import NDArray

    from weakclip.data.check.finding import Kind
    from weakclip.data.formats.ids import NamedFiles
    from weakclip.evaluation.predictions import Predictions
    from weakclip.progress import Report

_T = TypeVar("_T")
Undecided = Literal["miss", "background", "drop"]
"""Treatment of a predicted 255: a missed pixel of its class (SEAM, WeakTr), background (irn), or
not counted at all (AFA, ToCo)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Settings of the count."""

    undecided: Undecided = "miss"
    missing: Literal["report", "background"] = "report"
    """Whether an image without a prediction is a finding, or is scored as all background."""
    ignore: int = IGNORE
    """Label of void pixels in the ground truth, and of undecided pixels in predictions."""
    boundary: tuple[float, ...] = (0.02,)
    """Widths of the region of boundary IoU, as fractions of the image diagonal; may be empty."""
    bands: tuple[int, ...] = ()
    """Widths in pixels of the bands around contours, for a diagnosis; empty: no diagnosis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What every process needs for counting."""

    truth: NamedFiles
    predictions: tuple[Predictions, ...]
    """One result, or two to be compared on the same images."""
    num_classes: int
    """K, background included."""
    measure: Measure


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The pixels of one image, for each of R results."""

    counts: NDArray[np.int32]
    """(R, K, 3): intersection, predicted, annotated."""
    boundary: NDArray[np.int32]
    """(R, widths, K, 3), within the boundary regions."""
    decided: tuple[int, ...]
    """Number of annotated pixels with a predicted class, for each result."""
    annotated: int
    """Number of pixels that are not void."""
    digest: bytes
    """SHA-256 of the ground-truth file."""
    as_background: bool
    cells: tuple[NDArray[np.int32], ...] = ()
    """For each result, pixels by band, annotated and predicted class, (M, 5); empty if no bands."""


class Trouble(Exception):  # noqa: N818 (mostly a value)
    """The reason why an image cannot be counted."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(kind, text)
        self.kind, self.text = kind, text


def count_image(job: Job, name: str) -> Counted | Trouble:
    """The counts of one image, or the reason why it cannot be counted."""
    try:
        truth, digest = truth_of(job, name)
        found = [_predicted(job, one, name, truth) for one in job.predictions]
    except Trouble as trouble:
        return trouble
    blank = np.full_like(truth, BACKGROUND)
    masks = [blank if mask is None else mask for mask in found]
    pairs = [_decided(mask, truth, job.measure.undecided) for mask in masks]
    valid = truth != IGNORE
    return Counted(
        counts=np.stack([_numbers(class_counts(*pair, job.num_classes)) for pair in pairs]),
        boundary=np.stack([_boundary(job, *pair) for pair in pairs]),
        decided=tuple(int((valid & (mask != IGNORE)).sum()) for mask in masks),
        annotated=int(valid.sum()),
        digest=digest,
        as_background=any(mask is None for mask in found),
        cells=tuple(_cells(job, *pair) for pair in pairs) if job.measure.bands else (),
    )


def each(
    work: Callable[[Job, str], _T],
    job: Job,
    names: Sequence[str],
    *,
    processes: int,
    report: Report,
) -> Iterator[_T]:
    """Results of `work` for every image, in order.

    `work` is a function at module level, which other processes can import; with one process it is
    called in this one.
    """
    report(0, len(names))
    if processes == 1:
        for done, name in enumerate(names, start=1):
            yield work(job, name)
            report(done, len(names))
        return
    with ProcessPoolExecutor(
        processes, mp_context=_context(), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        piece = max(1, min(64, len(names) // (4 * processes)))
        results = pool.map(partial(work, job), names, chunksize=piece)
        for done, result in enumerate(results, start=1):
            yield result
            report(done, len(names))


def _context() -> BaseContext:
    """Start method of processes; a fork of this one would copy the locks of torch's threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["weakclip.evaluation.sweep"])  # torch is imported once
    return context


def truth_of(job: Job, name: str) -> tuple[NDArray[np.uint8], bytes]:
    """Annotated labels, void as 255, and the hash of their file; a `Trouble` without them."""
    try:
        path = job.truth.find(name)
        if path is None:
            raise Trouble(kinds.TRUTH_MISSING, name)
        mask = _with_void(read_mask(path), job.measure.ignore)
    except ValueError as error:
        raise Trouble(kinds.TRUTH_UNREADABLE, str(error)) from error
    _check_labels(mask, job.num_classes, kinds.TRUTH_LABELS, name)
    return mask, hashlib.sha256(path.read_bytes()).digest()


def _predicted(
    job: Job, predictions: Predictions, name: str, truth: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """Predicted labels, undecided as 255; None if there are none and background is assumed."""
    height, width = truth.shape
    try:
        mask = predictions.labels(name, (height, width))
    except ValueError as error:
        raise Trouble(kinds.UNREADABLE, str(error)) from error
    if mask is None:
        if job.measure.missing == "report":
            raise Trouble(kinds.MISSING, name)
        return None
    mask = _with_void(mask, job.measure.ignore)
    if mask.shape != truth.shape:
        raise Trouble(kinds.SIZE, f"{name}: prediction {mask.shape}, ground truth {truth.shape}")
    _check_labels(mask, job.num_classes, kinds.LABELS, name)
    return mask


def _with_void(mask: NDArray[np.uint8], ignore: int) -> NDArray[np.uint8]:
    return mask if ignore == IGNORE else np.where(mask == ignore, np.uint8(IGNORE), mask)


def _check_labels(mask: NDArray[np.uint8], num_classes: int, kind: Kind, name: str) -> None:
    present = np.bincount(mask.ravel(), minlength=IGNORE + 1).nonzero()[0]
    unknown = present[(present >= num_classes) & (present != IGNORE)]
    if len(unknown):
        raise Trouble(kind, f"{name}: label {unknown[0]} of 0 to {num_classes - 1}")


def _decided(
    mask: NDArray[np.uint8], truth: NDArray[np.uint8], undecided: Undecided
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and ground truth, (1, H, W), after the treatment of undecided pixels."""
    match undecided:
        case "background":
            mask = np.where(mask == IGNORE, np.uint8(BACKGROUND), mask)
        case "drop":
            truth = np.where(mask == IGNORE, np.uint8(IGNORE), truth)
        case "miss":
            pass
    return torch.from_numpy(mask)[None], torch.from_numpy(truth)[None]


def _boundary(job: Job, mask: torch.Tensor, truth: torch.Tensor) -> NDArray[np.int32]:
    """Counts in the boundary regions, (widths, K, 3)."""
    counts = np.zeros((len(job.measure.boundary), job.num_classes, 3), dtype=np.int32)
    for row, fraction in enumerate(job.measure.boundary):
        width = boundary_width(truth.shape[1], truth.shape[2], fraction)
        counts[row] = _numbers(boundary_counts(mask, truth, job.num_classes, width=width))
    return counts


def _cells(job: Job, mask: torch.Tensor, truth: torch.Tensor) -> NDArray[np.int32]:
    return count_cells(mask, truth, contour_bands(truth, job.measure.bands), job.num_classes)


def _numbers(counts: torch.Tensor) -> NDArray[np.int32]:
    return counts[0].numpy().astype(np.int32)
