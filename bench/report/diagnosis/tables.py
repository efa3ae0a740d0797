"""Diagnoses as rows of two CSV files and as tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.report.markup import Summary, percent, signed_interval
from bench.report.summary import NONE
from bench.report.table import place_of
from bench.stats.diagnosis import RATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.runs.record import RunRecord
    from bench.stats.diagnosis import Diagnosis
    from bench.stats.statistics import Difference
    from bench.studies.study import Study
    from weakclip.evaluation.diagnosis import Cost

COLUMNS = (
    *("study", "preset", "variant", "task", "split", "view", "error", "gain", "low", "high"),
    *("errors", "pixels", "right", "seeds", "images"),
)
"""Columns of `results/tables/<study>_diagnosis.csv`; all numbers are fractions."""

RATE_COLUMNS = ("study", "preset", "variant", "task", "split", "class_name", *RATES, "seeds",
                "images")  # fmt: skip
"""Columns of `results/tables/<study>_rates.csv`; means over seeds."""

NOTE = (
    "Gain: mIoU in points if an error did not occur, minus the mIoU, with a 95 % interval over "
    "seeds and images. Errors overlap and gains do not add up; `docs/diagnosis.md` defines them. "
    "Wrong: share of all wrong pixels. Concerned: share of all pixels that could have the error; "
    "right: share of these that do not."
)
KINDS = {
    "background taken for an object": "surplus",
    "object taken for background": "missed",
    "object taken for another class": "confused",
}
"""Kind of error -> heading of its column."""
SHOWN = 15
"""Number of errors of the reference in the table of a task."""
ERRORS = ("kind", "class", "pair", "contour", "seed", "shows")
"""Views in the table of the costliest errors; the others are about whole images or objects."""
GROUPS = ("contour", "size", "classes", "objects", "occlusion", "seed")
"""Views in the table of groups of pixels."""
_DIGITS = 6


def cost_rows(
    study: Study, records: Sequence[RunRecord], found: Sequence[Diagnosis]
) -> list[dict[str, object]]:
    """One row per variant, task and error, the costliest first."""
    return [
        {
            **_place(study, records, each),
            "view": cost.view,
            "error": cost.name,
            **{name: round(getattr(cost, name), _DIGITS) for name in COLUMNS[7:13]},
        }
        for each in found
        for cost in each.costs
    ]


def rate_rows(
    study: Study, records: Sequence[RunRecord], found: Sequence[Diagnosis]
) -> list[dict[str, object]]:
    """One row per variant, task and class, in the order of the classes."""
    return [
        {
            **_place(study, records, each),
            "class_name": name,
            **{rate: round(float(each.rates[rate][row]), _DIGITS) for rate in RATES},
        }
        for each in found
        for row, name in enumerate(each.class_names)
    ]


def diagnosis_tables(study: Study, found: Sequence[Diagnosis]) -> list[Summary]:
    """Tables per task: kinds of error of all rows, then errors and groups of the reference."""
    tables = []
    for task in dict.fromkeys(each.task for each in found):
        rows = [each for each in found if each.task == task]
        tables.append(_kinds_table(study, task, rows))
        for each in rows:
            if each.variant == study.reference.name:
                tables.append(costs_table(each, SHOWN))
                groups = groups_table(each)
                tables += [groups] if groups.rows else []
    return tables


def costs_table(found: Diagnosis, shown: int) -> Summary:
    """The costliest errors of a row."""
    costs = [cost for cost in found.of(*ERRORS) if cost.errors > 0][:shown]
    return Summary.of(
        f"Largest losses of {found.variant} on {found.task}, {_size(found)}",
        ("error", "by", "gain [95 %]", "wrong %", "concerned %", "right %"),
        ((cost.name, cost.view, gain_text(cost), *_shares(cost)) for cost in costs),
    )


def groups_table(found: Diagnosis) -> Summary:
    """The fraction of right pixels in each group of pixels of a row, in the order of `GROUPS`."""
    order = {view: place for place, view in enumerate(GROUPS)}
    costs = sorted(found.of(*GROUPS), key=lambda cost: order[cost.view])
    return Summary.of(
        f"Pixels of {found.variant} on {found.task} by known properties",
        ("pixels", "by", "right %", "concerned %", "wrong %", "gain [95 %]"),
        ((cost.name, cost.view, *reversed(_shares(cost)), gain_text(cost)) for cost in costs),
    )


def gain_text(cost: Cost) -> str:
    """A gain in points, with its interval if it has one."""
    if math.isnan(cost.low):
        return f"+{100 * cost.gain:.1f}"
    return signed_interval(cost.gain, cost.low, cost.high, digits=1)


def _kinds_table(study: Study, task: str, rows: Sequence[Diagnosis]) -> Summary:
    """A line per row of the study: rates of its errors, and the gain of each kind."""
    lines = []
    for each in rows:
        kinds = {cost.name: cost for cost in each.of("kind")}
        bands = each.of("contour")
        near = next((cost for cost in bands if cost.name.startswith("up to 5 px")), None)
        inner = next((cost for cost in bands if cost.name.startswith("interior")), None)
        gains = (*map(kinds.get, KINDS), near, inner)
        lines.append(
            (
                each.variant,
                *(_rate(name, each.means[name]) for name in RATES),
                *(NONE if cost is None else gain_text(cost) for cost in gains),
            )
        )
    headers = (
        *("variant", "mean FP/U %", "mean FN/U %", "m_FP", "m_FN"),
        *(f"gain without\n{name} [95 %]" for name in KINDS.values()),
        *("gain without\nerrors up to 5 px", "gain without\nerrors in interiors"),
    )
    return Summary.of(f"Study {study.name}: errors on {task}, {_size(rows[0])}", headers, lines)


def _rate(name: str, value: Difference) -> str:
    """A rate in percent with its interval, or an activation ratio, which rare classes distort."""
    if "activation" in name:
        return f"{value.estimate:.2f}"
    middle, low, high = map(percent, (value.estimate, value.low, value.high))
    return f"{middle} [{low}, {high}]"


def _shares(cost: Cost) -> list[str]:
    shares = (cost.errors, cost.pixels, cost.right)
    return [NONE if math.isnan(share) else percent(share) for share in shares]


def _size(found: Diagnosis) -> str:
    return f"n = {found.seeds} seeds × {found.images} images"


def _place(study: Study, records: Sequence[RunRecord], found: Diagnosis) -> dict[str, object]:
    return {
        **place_of(study, records, found.task),
        "variant": found.variant,
        "seeds": found.seeds,
        "images": found.images,
    }
