"""The interface between the runner and the code that trains and scores one configuration.

`bench/tasks/task.py` implements it; tests use a fake. The runner knows nothing about images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from bench.studies.method import MethodRow
    from weakclip.config import WeakCLIPConfig

    Counts: TypeAlias = NDArray[np.integer]
    Config: TypeAlias = WeakCLIPConfig | MethodRow


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Measurements of one run. The runner pools the counts and computes the scores."""

    counts: dict[str, Counts]
    """Task -> (N, K, 3): intersection, predicted and ground-truth pixels per image and class."""
    boundary: dict[str, Counts] = field(default_factory=dict)
    """Task -> (N, K, 3): the same near contours; a task may be absent."""
    confusion: dict[str, Counts] = field(default_factory=dict)
    """Task -> (K, K + 1): pixels by ground-truth and predicted class; a task may be absent."""
    cells: dict[str, dict[str, Counts]] = field(default_factory=dict)
    """Task -> view -> (M, 5): pixels by image, group, ground-truth and predicted class."""
    groups: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Task -> view -> names of the groups of pixels."""
    parameters: dict[str, dict[str, int]] = field(default_factory=dict)
    """Component -> {"total", "trainable"} numbers of parameters; components are disjoint."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> wall-clock seconds."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Logged training steps, e.g. {"step": 50, "loss": 0.7}."""
    data: dict[str, object] = field(default_factory=dict)
    """Data used for training besides that of the workbench, for the record: JSON values only."""
    extras: dict[str, float] = field(default_factory=dict)
    """"<task>/<metric>" -> fraction, e.g. "pseudo-mask-train/oracle_miou"."""
    peak_memory_mib: float | None = None
    write_masks: Callable[[Path], None] | None = None
    """Writes the masks of all training images below a folder."""
    discard: Callable[[], None] | None = None
    """Removes files that are needed only until the record is written."""


class Workbench(Protocol):
    """Data, weights, and a procedure for training and scoring.

    Two runs with equal arguments must give equal counts, whatever was run before in the process.
    """

    @property
    def protocol(self) -> Mapping[str, object]:
        """Settings of training and scoring: JSON values only.

        `splits` (task -> split) is required. `main_tasks` lists the tasks whose differences are
        tested; by default it is the first task. Captions print the rest.
        """

    @property
    def data(self) -> Mapping[str, object]:
        """Data set, splits, image counts, SHA-256 of the image lists: JSON values only."""

    @property
    def weights(self) -> Mapping[str, object]:
        """`id` and `sha256` of the frozen CLIP."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the tables."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K class names, background first."""

    def run(self, config: Config, seed: int, *, report: Callable[[int, int], None]) -> Outcome:
        """Train and score one configuration; `report(step, total)` is called during training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The result of one training of a search, scored on `tune`."""

    miou: float
    """Pooled over the images of `tune`, a fraction."""
    seconds: float
    """Wall-clock time of the training."""
