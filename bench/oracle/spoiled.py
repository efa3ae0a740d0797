"""Seeds of a chosen quality: the annotation of `train`, spoiled in patches.

How much does a component depend on how good the seeds are? Seeds of real maps differ in precision
and coverage at once; here each is set. This is an oracle: it looks at pixel annotations, so rows
with it are about the components and no method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from weakclip.data.artifacts import content_key
from weakclip.labels import BACKGROUND, IGNORE
from weakclip.stages.images import WorkingImages
from weakclip.stages.network import SeededTraining, TrainedWeakCLIP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from weakclip.stages.protocols import Setting, TaggedImages

CELLS = 8
"""Errors and gaps are smooth: drawn on so many cells a side, as coarse as CLIP's patches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoiledAnnotation:
    """WeakCLIP trained on spoiled annotation; a `weakclip.stages.protocols.RefinementSpec`.

    Attributes:
        training: WeakCLIP and its recipe; the seed rule plays no role.
        precision: Share of right labels among the decided pixels.
        coverage: Share of decided pixels.
        seed: Of the errors and gaps: the same for every row and every training.
    """

    training: SeededTraining
    precision: float
    coverage: float
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("precision", "coverage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in (0, 1], got {getattr(self, name)}")

    def build(self, setting: Setting) -> TrainedWeakCLIP:
        """The refinement, not fitted."""
        return _OnAnnotation(self, setting)


class _OnAnnotation(TrainedWeakCLIP):
    def __init__(self, spec: SpoiledAnnotation, setting: Setting) -> None:
        super().__init__(spec.training, setting)
        self._spoiled = spec

    def fit(
        self,
        data: TaggedImages,
        cams: Sequence[Tensor],
        *,
        seed: int,
        report: Callable[[int, int], None],
    ) -> None:
        if not isinstance(data, WorkingImages):
            raise TypeError(f"spoiled annotation: expected images with masks, got {type(data)}")
        self.fit_on_seeds(data, SpoiledSeeds(data, self._spoiled), seed=seed, report=report)


class SpoiledSeeds:
    """Seeds of the tagged images of a split, (H, W) int64 each, 255 where undecided."""

    def __init__(self, data: WorkingImages, spec: SpoiledAnnotation) -> None:
        """Hold what they are made from; each is made when it is asked for."""
        self._data, self._spec = data, spec
        self.indices = tuple(data.tagged)
        self.key = content_key("spoiled", data.key, spec.precision, spec.coverage, spec.seed, CELLS)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Tensor:
        index = self.indices[position]
        mask = self._data.files.gt_mask(index)
        if mask is None:
            name = self._data.files.names[index]
            raise ValueError(f"{name}: expected an annotated mask, got none")
        tags = np.flatnonzero(self._data.image_labels[index].numpy()) + 1
        generator = np.random.default_rng([self._spec.seed, index])
        seeds = spoiled(mask, tags, self._spec.precision, self._spec.coverage, generator)
        return torch.from_numpy(seeds)


def spoiled(
    mask: NDArray[np.integer],
    tags: NDArray[np.integer],
    precision: float,
    coverage: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """An annotation with gaps and errors in patches.

    Args:
        mask: Labels, (H, W), 255 = void.
        tags: Labels of the classes of the image; errors are of these and the background.
        precision: Share of right labels among the decided pixels.
        coverage: Share of decided pixels among those that are not void.
        generator: Source of both.

    Returns:
        (H, W); the shares hold up to a pixel.
    """
    labels: NDArray[np.int64] = np.array(mask, dtype=np.int64)
    known = labels != IGNORE
    gaps, errors = (_field(generator, labels.shape) for _ in range(2))
    decided = known & _lowest(gaps, known, coverage)
    wrong = decided & _lowest(errors, decided, 1 - precision)
    choices = np.array([BACKGROUND, *tags], dtype=np.int64)
    places = np.searchsorted(choices, np.minimum(labels, choices[-1]))
    shift = generator.integers(1, len(choices)) if len(choices) > 1 else 0
    other = choices[(places + shift) % len(choices)]
    return np.where(wrong, other, np.where(decided, labels, IGNORE))


def _field(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    cells = torch.from_numpy(generator.standard_normal((1, 1, CELLS, CELLS)))
    field = functional.interpolate(cells, shape, mode="bicubic", align_corners=False)
    return np.asarray(field[0, 0])


def _lowest(
    field: NDArray[np.float64], where: NDArray[np.bool_], share: float
) -> NDArray[np.bool_]:
    """Of the pixels `where`, the share with the lowest values of a field."""
    chosen = np.zeros(field.shape, dtype=np.bool_)
    rows, columns = np.nonzero(where)
    order = np.argsort(field[rows, columns], kind="stable")[: round(share * len(rows))]
    chosen[rows[order], columns[order]] = True
    return chosen
