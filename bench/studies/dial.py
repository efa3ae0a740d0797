"""A dial of a study: one thing about the world or the preset that moves, everything else as it is.

A position is a preset with changes after `+`, as `--preset` takes it, so each position is an
ordinary study of its own (`python -m bench run STUDY --preset PRESET`) with its own records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.studies.workbench import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a dial stands.

    Attributes:
        label: What tables and axes say.
        preset: With its changes, e.g. `wide+generated.world.style_distance=2.0`.
        rows: Rows by name that take the place of the study's, where the dial is part of the method.
    """

    label: str
    preset: str
    rows: tuple[tuple[str, Config], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Positions in order, and what was predicted about them (`docs/preregistration.md`).

    Attributes:
        name: What tables call it.
        positions: At least three; the centre is one of them if it is on this dial.
        gains: Row without the component whose effect should rise...
        towards: ...in this direction of the positions.
    """

    name: str
    positions: tuple[Position, ...]
    gains: str
    towards: str

    def __post_init__(self) -> None:
        labels = [position.label for position in self.positions]
        if len(labels) < 3 or len(set(labels)) < len(labels):
            raise ValueError(
                f"dial {self.name}: expected three positions or more with different labels, got "
                f"{labels}"
            )
        if self.towards not in ("first", "last"):
            raise ValueError(f"dial {self.name}: towards: expected first or last")
