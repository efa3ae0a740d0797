"""The roofline: how fast each timed line computes, under the roofs of its device.

Reads `profile.json` alone; the same file gives the same bytes.

References:
    Williams et al., "Roofline: An Insightful Visual Performance Model", CACM 2009.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.profile_lines import seconds
from bench.profile_table import work_flops

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = {("micro", "forward"): "o", ("micro", "training step"): "s",
            ("paper", "forward"): "^", ("paper", "training step"): "D"}  # fmt: skip


def draw_roofline(profile: dict[str, Any], *, format_: str) -> bytes:
    """Return the figure.

    Args:
        profile: Content of `profile.json`.
        format_: `svg` or `png`.
    """
    with mpl.rc_context():
        theme = {"svg.hashsalt": "weakclip", "font.family": ["DejaVu Sans"], "grid.color": "0.9"}
        sns.set_theme(context="paper", style="whitegrid", font_scale=0.8, rc=theme)
        figure = Figure(figsize=(4.5, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        _roofs(axis, profile)
        _points(axis, profile)
        axis.set(xscale="log", yscale="log")
        axis.set_xlabel("intensity (FLOP per byte read or written)")
        axis.set_ylabel("GFLOP/s")
        axis.set_title(f"{profile['environment']['device']}", loc="left")
        axis.legend(frameon=False, fontsize="x-small")
        buffer = BytesIO()
        dateless = {"Date": None} if format_ == "svg" else {"Software": None}
        figure.savefig(buffer, format=format_, dpi=200, metadata=dateless)
        return buffer.getvalue()


def _roofs(axis: Axes, profile: dict[str, Any]) -> None:
    intensity = np.logspace(-1, 3, 50)
    slope = profile["rates"]["copy_bytes"] * intensity
    for precision, rate in profile["rates"]["matmul_flops"].items():
        if any(speed["precision"] == precision for speed in profile["speeds"]):
            roof = np.minimum(slope, rate) / 1e9
            axis.plot(intensity, roof, color=_colour(precision), linewidth=1)


def _points(axis: Axes, profile: dict[str, Any]) -> None:
    labelled: set[str] = set()
    for speed in profile["speeds"]:
        if speed["status"] != "ok":
            continue
        flops = work_flops(speed, profile)
        label = f"{speed['size']}, {speed['work']}, {speed['precision']}"
        axis.plot(
            flops / speed["traffic_bytes"],
            flops / seconds(speed) / 1e9,
            marker=_MARKERS[speed["size"], speed["work"]],
            color=_colour(speed["precision"]),
            markerfacecolor=_colour(speed["precision"]) if speed["mode"] == "eager" else "none",
            markersize=4,
            linestyle="",
            label="_" if label in labelled else label,
        )
        labelled.add(label)


def _colour(precision: str) -> Any:  # noqa: ANN401 (seaborn is untyped)
    return sns.color_palette("colorblind")[("fp32", "bf16", "fp16").index(precision)]
