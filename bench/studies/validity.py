"""What of a study has a published counterpart: tests of validity (`docs/preregistration.md`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """A row of a study on a task, and the line of `results/reference.csv` about the same method.

    Attributes:
        name: What tables call the method.
        row: Of the study.
        task: On which it is scored.
        system: Of the line; its data set is VOC2012, its metric mIoU.
        stage: Of the line.
        split: Of the line.
        backbone: How that of the line begins, where several lines differ in nothing else.
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
    """What is compared with what is published.

    Attributes:
        methods: Rows with a counterpart.
        order: Names of methods as published, the worst first.
        gains: Pairs of names: the first minus the second is a published gain.
    """

    methods: tuple[Counterpart, ...]
    order: tuple[str, ...]
    gains: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        known = {each.name for each in self.methods}
        unknown = ({*self.order} | {name for pair in self.gains for name in pair}) - known
        if unknown or len(known) < len(self.methods):
            raise ValueError(f"validity: expected names of different methods, got {unknown}")
