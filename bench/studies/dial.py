"""Dials of a study: one thing about the world or the preset that moves, everything else as it is.

A position is a change of the preset, as `--set` takes it, or other rows at the unchanged preset.
Each changed preset has records of its own, as any study with `--set` (`study_name`); the centre,
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
    """Where a dial stands.

    Attributes:
        label: What tables and axes say.
        changes: Of the preset, e.g. `generated.world.style_distance=2.0`; none at the centre.
        prefix: Of the names of its rows, where the dial is part of the method.
        classes: 0-based classes that are scored here; all if there are none.
    """

    label: str
    changes: tuple[str, ...] = ()
    prefix: str = ""
    classes: tuple[int, ...] = ()

    def preset(self, centre: str) -> str:
        """The preset of its records."""
        return "+".join((centre, *self.changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Positions in order, and what was predicted about them (`docs/preregistration.md`).

    Attributes:
        name: What tables call it.
        positions: At least three; the centre is one of them if it is on this dial.
        gains: Row without the component whose effect should rise...
        towards: ...in this direction of the positions.
        tasks: Those that are compared; the verdict is about the first.
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
    """Rows that are run with one preset."""

    preset: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """What moves in a study, and which of its rows are compared at every position.

    Attributes:
        preset: The centre of all dials, where no other one is asked for.
        rows: The whole method, the control, then the rows without one component.
        beside: Rows that are run at the centre alone.
        dials: In the order of their worth.
    """

    preset: str
    rows: tuple[str, ...]
    dials: tuple[Dial, ...]
    beside: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of all rows that are run."""
        moved = (each for dial in self.dials for each in dial.positions)
        return [*self.rows, *self.beside, *(row for each in moved for row in self.rows_at(each))]

    def chosen(self, names: Sequence[str]) -> tuple[Dial, ...]:
        """The dials of these names; no names means all, `centre` none.

        Raises:
            BenchError: If there is no dial of a name.
        """
        known = [CENTRE, *(dial.name for dial in self.dials)]
        for name in names:
            if name not in known:
                raise unknown("dial", name, known)
        return tuple(dial for dial in self.dials if not names or dial.name in names)

    def rows_at(self, position: Position) -> tuple[str, ...]:
        """The compared rows of a position, in the order of `rows`."""
        return tuple(position.prefix + row for row in self.rows)

    def places(self, centre: str, names: Sequence[str] = ()) -> list[Place]:
        """What is to be run, each once: the centre, then the positions dial by dial.

        Args:
            centre: The preset that the changes start from.
            names: Of dials; all if there are none.
        """
        moved = (each for dial in self.chosen(names) for each in dial.positions)
        first = Place(preset=centre, rows=(*self.rows, *self.beside))
        found = [Place(preset=each.preset(centre), rows=self.rows_at(each)) for each in moved]
        at_centre = Place(preset=centre, rows=self.rows)
        return [first, *(place for place in dict.fromkeys(found) if place != at_centre)]
