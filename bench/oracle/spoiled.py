"""Seeds of a chosen precision and coverage, made from the annotation of `train`.

They show how a component depends on the quality of seeds. Seeds from real maps differ in precision
and coverage at the same time; here each is set. This is an oracle, because it uses pixel
annotations: its rows are about components and are not methods.
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
"""Side of the grid of random values that give the errors and gaps; it is as coarse as CLIP's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoiledAnnotation:
    """WeakCLIP trained on `SpoiledSeeds`; a `weakclip.stages.protocols.RefinementSpec`.

    Attributes:
        training: WeakCLIP and its recipe; its seed rule is not used.
        precision: Fraction of the labelled pixels whose label is right.
        coverage: Fraction of pixels that are labelled.
        seed: Random seed of the errors and gaps, the same for every row and training.

    Raises:
        ValueError: If precision or coverage is not in (0, 1].
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
        """Take images and settings; each seed is made on access."""
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
    """An annotation with smooth regions of gaps and of wrong labels.

    Args:
        mask: Labels, (H, W), 255 = void.
        tags: Labels of the image's tags; wrong labels are these or background.
        precision: Fraction of the labelled pixels whose label is right.
        coverage: Fraction of the pixels without void that are labelled.
        generator: Random generator.

    Returns:
        (H, W), 255 = undecided; the fractions hold up to one pixel.
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
    """The fraction `share` of the pixels `where` with the lowest values of a field."""
    chosen = np.zeros(field.shape, dtype=np.bool_)
    rows, columns = np.nonzero(where)
    order = np.argsort(field[rows, columns], kind="stable")[: round(share * len(rows))]
    chosen[rows[order], columns[order]] = True
    return chosen
