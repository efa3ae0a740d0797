"""The parameters of a dense CRF: pairwise terms, iterations, and published parameter sets.

They are values only, so that a study or command line can name a CRF without the algorithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Sequence


Compatibility = float | tuple[tuple[float, ...], ...]
"""Potts weight (a reward for equal labels), or an (L, L) matrix of PENALTIES, of the opposite sign:
a positive entry makes the two labels less likely together. A weight w equals the matrix -w I."""


def _compatibility(weight: object) -> Compatibility:
    """Check a weight and convert it to a hashable type."""
    compatibility: Compatibility
    if isinstance(weight, int | float):
        values, compatibility = [float(weight)], float(weight)
    else:
        matrix = torch.as_tensor(weight, dtype=torch.float64)
        rows, columns = dims(matrix, "L L", name="weight")
        if rows != columns:
            raise ValueError(
                f"weight: expected a number or a square matrix, got {rows} x {columns}"
            )
        values = matrix.flatten().tolist()
        compatibility = tuple(tuple(row) for row in matrix.tolist())
    if not all(math.isfinite(value) for value in values):
        raise ValueError("weight: expected finite numbers")
    return compatibility


def _check_positive(value: float, *, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a positive standard deviation, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Smoothness term: nearby pixels tend to have the same label.

    Attributes:
        sxy: Standard deviation in pixels.
        weight: Reward for equal labels (Potts), or an (L, L) matrix of penalties; symmetrised.
    """

    sxy: float
    weight: Compatibility

    def __post_init__(self) -> None:
        _check_positive(self.sxy, name="sxy")
        object.__setattr__(self, "weight", _compatibility(self.weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilateral:
    """Appearance term: nearby pixels of similar colour tend to have the same label.

    Attributes:
        sxy: Standard deviation in pixels.
        srgb: Standard deviation in intensity levels of an image in [0, 255].
        weight: Reward for equal labels (Potts), or an (L, L) matrix of penalties; symmetrised.
    """

    sxy: float
    srgb: float
    weight: Compatibility

    def __post_init__(self) -> None:
        _check_positive(self.sxy, name="sxy")
        _check_positive(self.srgb, name="srgb")
        object.__setattr__(self, "weight", _compatibility(self.weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class CRFConfig:
    """Pairwise terms and number of mean-field updates; without either, Q is softmax(-unary)."""

    terms: tuple[Gaussian | Bilateral, ...]
    iterations: int = 10

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations: expected 0 or more, got {self.iterations}")

    @property
    def has_matrix(self) -> bool:
        """Whether any term has a compatibility matrix."""
        return any(not isinstance(term.weight, float) for term in self.terms)

    def restricted(self, chosen: Sequence[int], labels: int) -> CRFConfig:
        """The same CRF on some of `labels` labels: selects rows and columns of the matrices."""
        if len(chosen) == labels or not self.has_matrix:
            return self
        terms = tuple(replace(term, weight=_picked(term, chosen, labels)) for term in self.terms)
        return replace(self, terms=terms)


def _picked(term: Gaussian | Bilateral, chosen: Sequence[int], labels: int) -> Compatibility:
    """Weight of a term for some of the labels."""
    weight = term.weight
    if isinstance(weight, float):
        return weight
    check_matrix(weight, labels)
    return tuple(tuple(weight[row][column] for column in chosen) for row in chosen)


def check_matrix(weight: tuple[tuple[float, ...], ...], labels: int) -> None:
    """Raise a ValueError unless a compatibility matrix has `labels` rows."""
    if len(weight) != labels:
        sizes = f"{labels} x {labels} labels, got {len(weight)} x {len(weight)}"
        raise ValueError(f"weight: expected a matrix of {sizes}")


def _preset(gaussian: tuple[float, float], bilateral: tuple[float, float, float]) -> CRFConfig:
    (near, smoothness), (far, colour, appearance) = gaussian, bilateral
    return CRFConfig(
        terms=(
            Gaussian(sxy=near, weight=smoothness),
            Bilateral(sxy=far, srgb=colour, weight=appearance),
        )
    )


WEAKCLIP_VOC = _preset((3.0, 3.0), (83.0, 5.0, 3.0))
WEAKCLIP_COCO = _preset((1.0, 3.0), (67.0, 3.0, 4.0))
WEAKCLIP_TRAIN = _preset((3.0, 3.0), (80.0, 13.0, 10.0))
PSA = WEAKCLIP_TRAIN  # also SEAM and 1-stage, at full resolution
CLIP_ES = _preset((1.0, 3.0), (67.0, 3.0, 4.0))
DEEPLAB = CLIP_ES  # deeplab-pytorch
IRN = _preset((3.0, 3.0), (50.0, 5.0, 10.0))  # with labels, confidence 0.7
DSRG = _preset((3.0 / 12, 3.0), (80.0 / 12, 13.0, 10.0))  # on a 41 x 41 grid
