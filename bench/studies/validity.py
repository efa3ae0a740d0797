"""Rows of a study with a published counterpart: tests of validity (`docs/preregistration.md`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """A row of a study on a task, and the line of `results/reference.csv` for the same method.

    Attributes:
        name: Name of the method in tables.
        row: Row of the study.
        task: Task on which the row is scored.
        system: Column `system` of the line, whose data set is VOC2012 and whose metric is mIoU.
        stage: Column `stage` of the line.
        split: Column `split` of the line.
        backbone: Prefix of the column `backbone`, where lines differ only in it.
    """

    name: str
    row: str
    task: str
    system: str
    stage: str
    split: str = "train"
    backbone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Comparisons of a study with published results.

    Attributes:
        methods: Rows with a counterpart.
        order: Names of methods in published order, the worst first.
        gains: Pairs of names; the score of the first minus that of the second is a published gain.

    Raises:
        ValueError: If `order` or `gains` name an unknown method, or two methods share a name.
    """

    methods: tuple[Counterpart, ...]
    order: tuple[str, ...]
    gains: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        known = {each.name for each in self.methods}
        unknown = ({*self.order} | {name for pair in self.gains for name in pair}) - known
        if unknown or len(known) < len(self.methods):
            raise ValueError(f"validity: expected names of different methods, got {unknown}")
