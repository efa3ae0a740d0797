"""Which figures a study has, what each is drawn from, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.effects import main_tasks
from bench.figure import SHOWS as EFFECTS_SHOW
from bench.figure import draw as draw_effects
from bench.figure import fingerprint
from bench.figure_curves import SHOWS as CURVES_SHOW
from bench.figure_curves import draw_curves
from bench.figure_scores import CLASSES_SHOW, COST_SHOWS, draw_classes, draw_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.record import RunRecord
    from bench.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One figure."""

    name: str
    """Of its files, without suffix."""
    source: str
    """Text of the CSV it is drawn from."""
    shows: str
    """Its caption."""
    paint: Callable[..., bytes]

    @property
    def mark(self) -> str:
        """What stands in the figure's metadata while it is fresh."""
        return fingerprint(self.source)


def draw(drawing: Drawing, format_: str) -> bytes:
    """Return the bytes of a figure in a format."""
    return drawing.paint(drawing.source, format_=format_)


def drawings(
    study: Study, records: Sequence[RunRecord], *, scores: str, effects: str, curves: str
) -> list[Drawing]:
    """Return the figures that the records allow.

    Args:
        study: Names its rows in their order.
        records: Of its runs.
        scores: Text of `<study>.csv`.
        effects: Text of `<study>_effects.csv`.
        curves: Text of `<study>_curves.csv`.
    """
    tasks, rows = main_tasks(records), [row.name for row in study.rows]
    has_reference = any((r.variant, r.status) == (study.reference.name, "ok") for r in records)
    found = []
    if tasks and effects.count("\n") > 1:
        paint = partial(draw_effects, tasks=tasks)
        found.append(Drawing(name=study.name, source=effects, shows=EFFECTS_SHOW, paint=paint))
    if tasks and has_reference:
        by_class = partial(draw_classes, tasks=tasks, reference=study.reference.name)
        by_cost = partial(draw_cost, tasks=tasks, variants=rows)
        found += [
            Drawing(
                name=f"{study.name}_classes", source=scores, shows=CLASSES_SHOW, paint=by_class
            ),
            Drawing(name=f"{study.name}_cost", source=scores, shows=COST_SHOWS, paint=by_cost),
        ]
    if curves.count("\n") > 1:
        paint = partial(draw_curves, variants=rows)
        name = f"{study.name}_curves"
        found.append(Drawing(name=name, source=curves, shows=CURVES_SHOW, paint=paint))
    return found
