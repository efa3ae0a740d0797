"""The figure of scores against the amount of input error. Reads only `<study>_response.csv`."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report.figures.figure import fingerprint, save, theme
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

SHOWS = (
    "mIoU in percent against the strength of the errors in the input, a panel per kind of error, "
    "mean over seeds. Bars: 95 % interval of the difference to the reference, paired by seed and "
    "image, drawn around the score. The black line without bars is the reference."
)
_COLUMNS = 3
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
_PLAIN = "0.1"


def draw_response(response_csv: str, *, format_: str) -> bytes:
    """Return the figure of a study's responses, one panel each.

    Args:
        response_csv: Text of `<study>_response.csv`.
        format_: `svg` or `png`.
    """
    frame = pd.read_csv(StringIO(response_csv))
    panels = list(frame["response"].unique())
    curves = [str(name) for name in frame["curve"].unique()]
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    with theme():
        figure = Figure(figsize=(7.2, 0.9 + 1.75 * lines), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
        for axis, name in zip(axes, panels, strict=False):
            _panel(axis, frame[frame["response"] == name], curves)
            axis.set_title(name, loc="left")
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        for axis in axes[::columns]:
            axis.set_ylabel("mIoU (%)")
        known: dict[str, Artist] = {}
        for axis in axes[: len(panels)]:
            handles, labels = axis.get_legend_handles_labels()
            known |= dict(zip(map(str, labels), handles, strict=True))
        shown = [name for name in curves if name in known]
        figure.legend(
            [known[name] for name in shown], shown, loc="outside lower center", ncols=5,
            frameon=False,
        )  # fmt: skip
        first = frame.iloc[0]
        figure.suptitle(
            f"{first['study']}, preset {preset_label(first['preset'])}; "
            f"n = {frame['seeds'].max()} seeds × {frame['images'].max()} images",
            fontsize="medium",
        )
        return save(figure, format_, fingerprint(response_csv))


def _panel(axis: Axes, part: pd.DataFrame, curves: Sequence[str]) -> None:
    """Draw a line per curve; points at the same value are shifted slightly apart."""
    colours = sns.color_palette("colorblind")
    width = (part["x"].max() - part["x"].min()) or 1
    for place, name in enumerate(curves):
        line = part[part["curve"] == name].sort_values("x")
        if line.empty:
            continue
        plain = line["low"].isna().all()
        shift = 0.006 * width * (place - len(curves) / 2)
        score = 100 * line["miou"]
        bars = [100 * (line["difference"] - line["low"]), 100 * (line["high"] - line["difference"])]
        axis.errorbar(
            line["x"] + shift, score, yerr=[each.fillna(0) for each in bars],
            fmt=f"{_MARKERS[place % len(_MARKERS)]}-", markersize=3, capsize=1.5, label=name,
            linewidth=1.6 if plain else 1, color=_PLAIN if plain else colours[place % len(colours)],
        )  # fmt: skip
    axis.set_xlabel(str(part.iloc[0]["axis"]))
    values = sorted(part["x"].unique())
    axis.set_xticks(values, [f"{value:g}" for value in values], fontsize=6)
