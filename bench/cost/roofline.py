"""The roofline: how fast each timed line computes, under the roofs of its device.

Reads `profile.json` alone; the same file gives the same bytes.

References:
    Williams et al., "Roofline: An Insightful Visual Performance Model", CACM 2009.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from bench.cost.lines import seconds
from bench.cost.table import work_flops
from bench.report.figures.figure import canvas, fingerprint, save, theme

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

_MARKERS = {"forward": "o", "training step": "s", "baseline": "^"}
_SMALL, _LARGE = 3.0, 5.5
_SIZES = {"micro": _SMALL, "paper": _LARGE}
_HEIGHT = 3.6
_CLOSE = 1.6
"""Roofs by less than this factor apart have their labels one above the other."""
_Point = tuple[dict[str, Any], str, float]


def draw_roofline(profile: dict[str, Any], *, format_: str) -> bytes:
    """Return the figure: a point a line of the profile and a roof a precision.

    Args:
        profile: Content of `profile.json`.
        format_: `svg` or `png`.
    """
    points = list(_points(profile))
    with theme():
        figure = canvas(_HEIGHT)
        axis = figure.subplots()
        axis.set(xscale="log", yscale="log")
        for speed, kind, flops in points:
            _draw_point(axis, speed, kind, flops)
        _draw_roofs(axis, profile, {speed["precision"] for speed, _, _ in points})
        axis.set_xlabel("intensity (FLOP per byte read or written)")
        axis.set_ylabel("rate of computation (GFLOP/s)")
        environment = profile["environment"]
        title = f"{environment['device']}, {environment['threads']} thread(s)"
        figure.suptitle(title, fontsize="small")
        figure.legend(
            handles=_legend(points), loc="outside lower center", ncols=3, frameon=False,
            fontsize="x-small", columnspacing=1.0, handletextpad=0.4,
        )  # fmt: skip
        return save(figure, format_, fingerprint(json.dumps(profile, sort_keys=True)))


def _points(profile: dict[str, Any]) -> Iterator[_Point]:
    """Lines that were measured and do count FLOPs, with their kind and FLOPs of a call."""
    for speed in profile["speeds"]:
        if speed["status"] == "ok":
            yield speed, speed["work"], work_flops(speed, profile)
    for speed in profile.get("baselines", {}).get("speeds", ()):
        if speed["status"] == "ok" and speed["flops"]:
            yield speed, "baseline", speed["flops"]


def _draw_point(axis: Axes, speed: dict[str, Any], kind: str, flops: float) -> None:
    colour = _colour(speed["precision"])
    axis.plot(
        flops / speed["traffic_bytes"],
        flops / seconds(speed) / 1e9,
        marker=_MARKERS[kind],
        color=colour,
        markerfacecolor=colour if speed["mode"] == "eager" else "none",
        markersize=_SIZES[speed["size"]],
        markeredgewidth=0.6,
        alpha=0.8,
        linestyle="",
    )


def _draw_roofs(axis: Axes, profile: dict[str, Any], shown: set[str]) -> None:
    low, high = axis.get_xlim()
    low, high = min(low, 0.5), max(high, 100.0)
    intensity = np.geomspace(low, high, 200)
    copy = profile["rates"]["copy_bytes"]
    rates = {key: rate for key, rate in profile["rates"]["matmul_flops"].items() if key in shown}
    for precision, rate in rates.items():
        roof = np.minimum(copy * intensity, rate) / 1e9
        axis.plot(intensity, roof, color=_colour(precision), linewidth=1)
        crowd = sum(rate < other < _CLOSE * rate for other in rates.values())  # labels there
        axis.annotate(
            f"{precision} {rate / 1e9:.0f} GFLOP/s", (high, rate / 1e9), xytext=(0, 2 + 11 * crowd),
            textcoords="offset points", ha="right", fontsize="x-small", color=_colour(precision),
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip
    axis.annotate(
        f"copy {copy / 1e9:.3g} GB/s", (low, copy * low / 1e9), xytext=(10, 0),
        textcoords="offset points", va="center", fontsize="x-small", color="0.3",
    )  # fmt: skip
    axis.set_xlim(low, high)


def _legend(points: list[_Point]) -> list[Line2D]:
    """What colour, shape, size and filling stand for, as far as they occur."""
    speeds = [speed for speed, _, _ in points]
    found = [
        _handle(marker, label=kind)
        for kind, marker in _MARKERS.items()
        if any(kind == each for _, each, _ in points)
    ]
    found += [
        _handle("o", label=f"{size} size", size=radius)
        for size, radius in _SIZES.items()
        if any(speed["size"] == size for speed in speeds)
    ]
    if any(speed["mode"] == "compiled" for speed in speeds):
        found.append(_handle("o", label="compiled", filled=False))
    return found


def _handle(marker: str, *, label: str, size: float = 4.0, filled: bool = True) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=marker, color="0.3", label=label, markersize=size,
        markerfacecolor="0.3" if filled else "none",
    )  # fmt: skip


def _colour(precision: str) -> Any:  # noqa: ANN401 (seaborn is untyped)
    return sns.color_palette("colorblind")[("fp32", "bf16", "fp16").index(precision)]
