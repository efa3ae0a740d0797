"""Confusion matrices of a study's reference, as CSV rows and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.report.markup import percent
from bench.report.table import place_of
from bench.runs.plan import SMOKE
from bench.runs.store import CONFUSION_SUFFIX
from bench.stats.effects import main_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.runs.record import RunRecord
    from bench.stats.effects import RowCounts
    from bench.studies.study import Study

COLUMNS = (
    *("study", "preset", "variant", "task", "split", "gt_class", "predicted_class", "pixels"),
    *("share", "seeds", "images"),
)
"""Columns of `results/tables/<study>_confusion.csv`; shares are fractions of a class's pixels."""

VOID = "void"
"""The predicted class of a pixel without a predicted class."""

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """The confusion matrix of the reference on one task, summed over its seeds and images."""

    task: str
    class_names: tuple[str, ...]
    """K names, background first."""
    pixels: NDArray[np.int64]
    """Pixels by ground-truth and predicted class, (K, K + 1), `VOID` last."""
    seeds: int
    images: int

    @property
    def shares(self) -> NDArray[np.float64]:
        """Fractions of the pixels of each ground-truth class, (K, K + 1); NaN if it is absent."""
        annotated = self.pixels.sum(axis=1, keepdims=True).astype(np.float64)
        annotated[annotated == 0] = np.nan
        shares: NDArray[np.float64] = self.pixels / annotated
        return shares

    @property
    def cells(self) -> list[tuple[str, str, int, float]]:
        """Ground-truth class, predicted class, pixels and share, in the order of the classes."""
        columns, shares = (*self.class_names, VOID), self.shares
        return [
            (name, columns[column], int(pixels), float(shares[row, column]))
            for row, name in enumerate(self.class_names)
            for column, pixels in enumerate(self.pixels[row])
        ]


def confusions(study: Study, records: Sequence[RunRecord], counts: RowCounts) -> list[Confusion]:
    """Return the matrix of the reference on each main task; older records have no matrix."""
    reference = study.reference.name
    runs = counts.get(reference, {})
    found = []
    for task in main_tasks(records):
        name = task + CONFUSION_SUFFIX
        kept = [run for run in runs.values() if name in run]
        if kept:
            scored = next(r for r in records if r.variant == reference and task in r.per_class)
            found.append(
                Confusion(
                    task=task,
                    class_names=tuple(scored.per_class[task]),
                    pixels=np.sum([run[name] for run in kept], axis=0, dtype=np.int64),
                    seeds=len(kept),
                    images=len(kept[0][task]),
                )
            )
    return found


def confusion_rows(
    study: Study, records: Sequence[RunRecord], found: Sequence[Confusion]
) -> list[dict[str, object]]:
    """Return one row per task, ground-truth and predicted class, in the order of the classes."""
    return [
        {
            **place_of(study, records, each.task),
            "variant": study.reference.name,
            "gt_class": gt_class,
            "predicted_class": predicted,
            "pixels": pixels,
            "share": share,
            "seeds": each.seeds,
            "images": each.images,
        }
        for each in found
        for gt_class, predicted, pixels, share in each.cells
    ]


def in_words(records: Sequence[RunRecord], found: Sequence[Confusion]) -> tuple[str, ...]:
    """Return a sentence per task with its five largest confusions; empty for preset smoke.

    Confusions are ranked by the fraction of the ground-truth class's pixels.
    """
    if not records or records[0].preset == SMOKE:
        return ()
    sentences = []
    for each in found:
        wrong = [cell for cell in each.cells if cell[0] != cell[1] and cell[3] > 0]
        largest = sorted(wrong, key=lambda cell: -cell[3])[:_NAMED]
        parts = [f"{percent(share)} % of **{gt}** for {taken}" for gt, taken, _, share in largest]
        if parts:
            text = f"**{each.task}**, the largest shares of a class's pixels: {'; '.join(parts)}."
            sentences.append(text)
    return tuple(sentences)
