"""Effects of components at every position of a study's dials, and their slopes along the dials.

The rows of a position are variants of one network, so their variance over seeds is pooled. The
tests are the two differences at each position that `docs/preregistration.md` names, and one slope
per dial; other differences are estimates. A test that was not run counts as p = 1 in the
correction, so that a partly run study is not corrected less than the complete study.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.stats.effects import LEVEL, METRICS, array_of, runs_on
from bench.stats.statistics import Resampled, SeedNoise, contrast, holm, resample, seed_noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.stats.effects import RowCounts
    from bench.stats.statistics import Difference
    from bench.studies.dial import Dial, Dials, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The complete method minus another row at one position of a dial."""

    dial: Dial
    position: Position
    row: str
    """Name of the other row without the prefix of the position."""
    task: str
    metric: str
    score: float
    """Score of the complete method at this position, mean over seeds."""
    difference: Difference
    p_holm: float = math.nan
    """p-value corrected over the tests on the same dial, task and metric; NaN: no test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Change of a component's effect per position of a dial, in the predicted direction."""

    dial: Dial
    task: str
    difference: Difference
    """The slope, a fraction of mIoU per position."""
    p_holm: float
    """p-value corrected over all dials that are compared on the task."""
    wanted: int
    """Number of seeds of the study."""

    @property
    def verdict(self) -> str:
        """`confirmed`, `contradicted` or `undecided`; `open` with fewer seeds than `wanted`."""
        if self.difference.seeds < self.wanted:
            return "open"
        if not self.p_holm < LEVEL:
            return "undecided"
        return "confirmed" if self.difference.estimate > 0 else "contradicted"


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of rows of a position on the seeds that all of them have."""

    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: Resampled


@dataclass(frozen=True, slots=True)
class Measured:
    """Counts of the runs of a study with dials; resampled scores are cached."""

    dials: Dials
    centre: str
    """Preset at the centre."""
    counts: Mapping[str, RowCounts]
    """Preset -> row -> seed -> array name -> counts."""
    _kept: dict[tuple[object, ...], _Scored | None] = field(default_factory=dict)

    def left_centre(self, dial: Dial) -> bool:
        """Whether the complete method was run at a position of the dial other than the centre."""
        return any(
            self.dials.rows_at(each)[0] in self.counts.get(each.preset(self.centre), {})
            for each in dial.positions
            if each.changes or each.prefix
        )

    def at(self, position: Position, task: str, metric: str) -> _Scored | None:
        """Scores of the rows of a position; None if the complete method was not run there."""
        array, preset = array_of(task, metric), position.preset(self.centre)
        key = (preset, position.prefix, position.classes, array)
        if key not in self._kept:
            self._kept[key] = self._scored(self.counts.get(preset, {}), position, array)
        return self._kept[key]

    def _scored(self, by_row: RowCounts, position: Position, array: str) -> _Scored | None:
        runs = {
            name: runs_on(by_row, row, array)
            for name, row in zip(self.dials.rows, self.dials.rows_at(position), strict=True)
        }
        rows = tuple(name for name, found in runs.items() if found)
        seeds = sorted(set.intersection(*(set(runs[name]) for name in rows))) if rows else []
        if not seeds or rows[0] != self.dials.rows[0]:
            return None
        classes = [each + 1 for each in position.classes] or slice(None)
        stacked = [np.stack([runs[name][seed][:, classes] for seed in seeds]) for name in rows]
        return _Scored(rows, tuple(seeds), resample(stacked))


def moved(measured: Measured) -> list[Moved]:
    """Return every component's effect at every position that was run, dial by dial.

    Dials of which only the centre was run are left out, but if that applies to all, the first dial
    is returned.
    """
    found: list[Moved] = []
    dials = measured.dials.dials
    for dial in [each for each in dials if measured.left_centre(each)] or dials[:1]:
        for task in dial.tasks:
            for metric in METRICS:
                found += _corrected(_of_dial(measured, dial, task, metric), measured.dials)
    return found


def slopes(measured: Measured, wanted: int) -> list[Slope]:
    """Return the slope of the predicted effect of every dial that was run at all its positions.

    `wanted` is the number of seeds of the study; with fewer seeds the verdict is `open`.
    """
    dials = measured.dials.dials
    found: list[Slope] = []
    for task in dict.fromkeys(task for dial in dials for task in dial.tasks):
        asked = [dial for dial in dials if task in dial.tasks]
        values = [_slope(measured, dial, task) for dial in asked]
        p_values = holm([1.0 if value is None else value.p_value for value in values])
        found += [
            Slope(dial=dial, task=task, difference=value, p_holm=p_holm, wanted=wanted)
            for dial, value, p_holm in zip(asked, values, p_values, strict=True)
            if value is not None
        ]
    return sorted(found, key=lambda slope: dials.index(slope.dial))


def _of_dial(measured: Measured, dial: Dial, task: str, metric: str) -> list[Moved]:
    found = []
    for position in dial.positions:
        scored = measured.at(position, task, metric)
        if scored is None:
            continue
        noise = seed_noise(scored.scores.by_seed)
        for place, row in enumerate(scored.rows[1:], start=1):
            weights = np.zeros(len(scored.rows))
            weights[[0, place]] = 1, -1
            found.append(
                Moved(
                    dial=dial,
                    position=position,
                    row=row,
                    task=task,
                    metric=metric,
                    score=float(scored.scores.by_seed[0].mean()),
                    difference=contrast(scored.scores, weights.tolist(), noise=noise),
                )
            )
    return found


def _corrected(found: Sequence[Moved], dials: Dials) -> list[Moved]:
    """Fill in Holm's p-values of one dial, task and metric."""
    if not found:
        return []
    dial = found[0].dial
    pairs = dict.fromkeys((dials.rows[1], dial.gains))
    tested = [each for each in found if each.row in pairs]
    missing = len(pairs) * len(dial.positions) - len(tested)
    p_values = holm([*(each.difference.p_value for each in tested), *[1.0] * missing])
    by_id = {id(each): value for each, value in zip(tested, p_values, strict=False)}
    return [replace(each, p_holm=by_id.get(id(each), math.nan)) for each in found]


def _slope(measured: Measured, dial: Dial, task: str) -> Difference | None:
    """The least-squares slope over positions 1, 2, 3, ... in the predicted direction."""
    scored = [measured.at(position, task, "miou") for position in dial.positions]
    found = [each for each in scored if each is not None and dial.gains in each.rows]
    if len(found) < len(dial.positions):
        return None
    seeds = sorted(set.intersection(*(set(each.seeds) for each in found)))
    if not seeds:
        return None
    steps = np.arange(len(found)) - (len(found) - 1) / 2
    steps *= (1 if dial.towards == "last" else -1) / (steps**2).sum()
    by_seed, bootstrap, noises = [], [], []
    for each in found:
        shared = [each.seeds.index(seed) for seed in seeds]
        pair = np.ix_([0, each.rows.index(dial.gains)], shared)
        by_seed.append(each.scores.by_seed[pair])
        bootstrap.append(each.scores.bootstrap[pair])
        noises.append(seed_noise(each.scores.by_seed[:, shared]))
    images = min(each.scores.images for each in found)
    scores = Resampled(np.concatenate(by_seed), np.concatenate(bootstrap), images)
    weights = [sign * step for step in steps.tolist() for sign in (1, -1)]
    return contrast(scores, weights, noise=_pooled(noises))


def _pooled(noises: Sequence[SeedNoise | None]) -> SeedNoise | None:
    """The variance over seeds pooled over positions, after removing seed means at each position."""
    known = [noise for noise in noises if noise is not None]
    if len(known) < len(noises):
        return None
    df = sum(noise.df for noise in known)
    return SeedNoise(variance=sum(noise.variance * noise.df for noise in known) / df, df=df)
