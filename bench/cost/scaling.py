"""Growth of cost with image side, number of classes, batch size and number of prompts.

One quantity is varied at a time; the others have the defaults of the size (`micro`: 128 pixels,
`paper`: 512; 21 classes, one image). Time and memory are measured at micro size, each point in a
separate process. FLOPs are counted at both sizes on torch's `meta` device, because a step on
1024 x 1024 pixels at paper size takes minutes on a CPU.

Run: python -m bench profile --scaling      (minutes; add --quick for a few points)
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.cost.counts import TEXT, flop_costs, total
from bench.cost.load import Load, run_apart
from bench.cost.profile import environment_of
from bench.cost.subject import BASES, SIDES, make_subject
from bench.cost.table import opening, seconds, table, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.cost.load import Work
    from bench.cost.profile import Options
    from weakclip.network.model import WeakCLIP

SCHEMA_VERSION = 1
AXES: dict[str, tuple[int, ...]] = {
    "side": (224, 320, 512, 768, 1024),
    "classes": (2, 20, 50, 100, 200),
    "batch": (1, 2, 4, 8, 16),
    "prompts": (2, 20, 50, 100, 200),
}
"""Axis -> values. `prompts` varies a batch of texts for the text tower, without images."""
COLUMNS = ("axis", "value", "size", "work", "metric", "cost", "unit", "status", "error")
UNITS = {"time": "ms", "memory": "MiB", "flops": "GFLOP"}
"""Quantity -> unit; memory is the peak of a process minus its memory before the network is made."""
REPEATS, SECONDS = 3, 10.0
STUDY, VARIANT = "components", "full"
Scaling = dict[str, Any]


def works_of(axis: str) -> tuple[Work, ...]:
    """The kinds of work that are timed along an axis."""
    return ("text",) if axis == "prompts" else ("forward", "training step")


def points(axes: Mapping[str, Sequence[int]], options: Options) -> Iterator[tuple[str, int, Load]]:
    """Axis, value and load of every timed point."""
    for axis, values in axes.items():
        for value in values:
            for work in works_of(axis):
                load = Load(
                    study=STUDY, variant=VARIANT, size="micro", work=work,
                    batch=value if axis == "batch" else 1,
                    side=value if axis == "side" else None,
                    classes=value if axis in ("classes", "prompts") else None,
                    device=options.device, threads=options.threads,
                    repeats=min(options.repeats, REPEATS), warmup=0, seconds=SECONDS,
                )  # fmt: skip
                yield axis, value, load


def make_scaling(
    options: Options,
    *,
    axes: Mapping[str, Sequence[int]] = AXES,
    command: str,
    report: Callable[[str], None],
) -> Scaling:
    """Measure all points and return the content of `scaling.json`.

    The command line is kept in it. `report` is called with a line of text for every finished point.
    """
    environment = environment_of(options, command)
    speeds = []
    for axis, value, load in points(axes, options):
        measured = run_apart(load, timeout=options.timeout)
        report(f"{axis} {value} {load.work}: {measured.status}")
        speeds.append({"axis": axis, "value": value, **asdict(load), **asdict(measured)})
    flops = [
        {"axis": axis, "value": value, "size": size, "work": work, "flops": flops}
        for size in SIDES
        for axis, values in axes.items()
        for value in values
        for work, flops in flops_at(size, axis, value).items()
        if work in works_of(axis)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": environment,
        "speeds": speeds,
        "flops": flops,
    }


def flops_at(size: str, axis: str, value: int) -> dict[Work, int]:
    """Kind of work -> FLOPs at a point; FLOP = 2 MAC."""
    classes = value if axis in ("classes", "prompts") else None
    costs = flop_costs(
        _model(size, classes),
        value if axis == "batch" else 1,
        value if axis == "side" else SIDES[size],
    )
    whole, text = total(costs.values()), costs[TEXT]
    return {
        "forward": whole.forward - text.forward,  # its text is computed before
        "training step": whole.forward + whole.backward,
        "text": text.forward + text.backward,
    }


def fit(values: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Exponent of cost = c x value^exponent: least squares on logarithms; from the last two points.

    Example:
        >>> fit([1, 2, 4], [3, 12, 48])
        (2.0, 2.0)
    """
    x, y = np.log2(values), np.log2(costs)
    slopes = (np.polyfit(x, y, 1)[0], np.polyfit(x[-2:], y[-2:], 1)[0])
    return round(float(slopes[0]), 6), round(float(slopes[1]), 6)


def scaling_csv(scaling: Scaling) -> str:
    """Return the CSV, with one row per point and quantity."""
    return write_csv(COLUMNS, _rows(scaling))


def scaling_markdown(scaling: Scaling) -> str:
    """Return the Markdown tables, with two exponents per curve."""
    lines = [
        *opening("How cost grows", "python -m bench profile --scaling", scaling["environment"]),
        "One thing varies, the others stay: one image, 128 (micro) or 512 (paper) pixels a side, "
        "21 classes. Prompts: the text tower alone, forward and backward. Time: median of calls; "
        "memory: peak of a process of its own beyond what it held before the network was made; "
        "FLOP = 2 MAC, counted. `exponent`: of cost = c · value^exponent, by least squares on "
        "logarithms; `last`: between the last two points.",
    ]
    rows = list(_rows(scaling))
    for axis in dict.fromkeys(row["axis"] for row in rows):
        curves: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in rows:
            if row["axis"] == axis:
                curves.setdefault(_curve(row), []).append(row)
        values = [str(row["value"]) for row in next(iter(curves.values()))]
        headers = ("cost", "size", "work", *values, "exponent", "last")
        cells = map(_cells, curves.values())
        lines += ["", f"## {str(axis).capitalize()}", "", *table(headers, cells)]
    return "\n".join(lines) + "\n"


@cache
def _model(size: str, classes: int | None) -> WeakCLIP:
    return make_subject(BASES[size], size, classes=classes).model.to("meta")


def _curve(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["size"], row["work"], row["metric"]


def _rows(scaling: Scaling) -> Iterator[dict[str, Any]]:
    for line in scaling["speeds"]:
        where = {name: line[name] for name in ("axis", "value", "size", "work", "status")}
        costs: tuple[object, object] = ("", "")
        if line["status"] == "ok":
            peak = line["peak_memory_mib"] - (line["base_memory_mib"] or 0.0)
            costs = (1e3 * seconds(line), peak)
        for metric, cost in zip(("time", "memory"), costs, strict=True):
            yield {**where, "metric": metric, "cost": cost, "unit": UNITS[metric],
                   "error": line["error"] or ""}  # fmt: skip
    for line in scaling["flops"]:
        where = {name: line[name] for name in ("axis", "value", "size", "work")}
        cost = line["flops"] / 1e9
        yield {**where, "metric": "flops", "cost": cost, "unit": UNITS["flops"], "status": "ok"}


def _cells(curve: Sequence[Mapping[str, Any]]) -> list[str]:
    known = [(row["value"], row["cost"]) for row in curve if row["status"] == "ok"]
    size, work, metric = _curve(curve[0])
    return [
        f"{metric}, {UNITS[metric]}", size, work,
        *(f"{row['cost']:.3g}" if row["status"] == "ok" else row["status"] for row in curve),
        *(f"{slope:.2f}" for slope in (fit(*zip(*known, strict=True)) if known[1:] else ())),
        *(() if known[1:] else ("-", "-")),
    ]  # fmt: skip
