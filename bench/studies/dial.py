"""Dials of a study: one property of the images or the preset varies, all others are fixed.

A position changes the preset as `--set` does, or selects other rows of the unchanged preset.
Each changed preset has its own records, like any study with `--set` (`study_name`). The centre,
which most dials share, is run once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

CENTRE = "centre"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One value of a dial.

    Attributes:
        label: Text in tables and on axes.
        changes: Changes of the preset, e.g. `generated.world.style_distance=2.0`; empty at the
            centre.
        prefix: Prefix of the row names, for a dial that changes the method and not the preset.
        classes: 0-based indices of the classes that are scored; empty means all.
    """

    label: str
    changes: tuple[str, ...] = ()
    prefix: str = ""
    classes: tuple[int, ...] = ()

    def preset(self, centre: str) -> str:
        """The name of the changed preset, given the name of the centre's."""
        return "+".join((centre, *self.changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Positions in order, and the prediction about them (`docs/preregistration.md`).

    Attributes:
        name: Name in tables.
        positions: At least three; includes the centre if it lies on this dial.
        gains: Row without the component whose effect is predicted to rise.
        towards: End of `positions` towards which it is predicted to rise: `first` or `last`.
        tasks: Tasks that are compared; the prediction is tested on the first.

    Raises:
        ValueError: If there are fewer than three positions, two share a label, or `towards` is
            another word.
    """

    name: str
    positions: tuple[Position, ...]
    gains: str
    towards: str
    tasks: tuple[str, ...] = ("train-pseudo", "val-network")

    def __post_init__(self) -> None:
        labels = [position.label for position in self.positions]
        if len(labels) < 3 or len(set(labels)) < len(labels):
            raise ValueError(
                f"dial {self.name}: expected three positions or more with different labels, got "
                f"{labels}"
            )
        if self.towards not in ("first", "last"):
            raise ValueError(f"dial {self.name}: towards: expected first or last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A preset and the rows that are run with it."""

    preset: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """The dials of a study, and the rows that are compared at every position.

    Attributes:
        preset: Default preset at the centre of all dials.
        rows: The complete method, the control, then the rows without one component.
        beside: Rows that are run at the centre only.
        dials: The most important first.
    """

    preset: str
    rows: tuple[str, ...]
    dials: tuple[Dial, ...]
    beside: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of all rows that are run."""
        moved = (each for dial in self.dials for each in dial.positions)
        return [*self.rows, *self.beside, *(row for each in moved for row in self.rows_at(each))]

    def chosen(self, names: Sequence[str]) -> tuple[Dial, ...]:
        """The dials with these names; no names means all, `centre` alone means none.

        Raises:
            BenchError: If a name is not a dial.
        """
        known = [CENTRE, *(dial.name for dial in self.dials)]
        for name in names:
            if name not in known:
                raise unknown("dial", name, known)
        return tuple(dial for dial in self.dials if not names or dial.name in names)

    def rows_at(self, position: Position) -> tuple[str, ...]:
        """Names of the rows compared at a position, in the order of `rows`."""
        return tuple(position.prefix + row for row in self.rows)

    def places(self, centre: str, names: Sequence[str] = ()) -> list[Place]:
        """What has to be run, without repeats: the centre, then the positions dial by dial.

        Args:
            centre: Name of the preset that the positions change.
            names: Names of dials; empty means all.
        """
        moved = (each for dial in self.chosen(names) for each in dial.positions)
        first = Place(preset=centre, rows=(*self.rows, *self.beside))
        found = [Place(preset=each.preset(centre), rows=self.rows_at(each)) for each in moved]
        at_centre = Place(preset=centre, rows=self.rows)
        return [first, *(place for place in dict.fromkeys(found) if place != at_centre)]
