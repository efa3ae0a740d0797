"""The figure of scores against the amount of input error. Reads only `<study>_response.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.figure import COLOURS, PAGE_WIDTH, canvas, counts_of, from_csv, set_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWS = (
    "mIoU in percent against the strength of the errors in the input, a panel per kind of error, "
    "mean over seeds. Bars: 95 % interval of the difference to the reference, paired by seed and "
    "image, drawn around the score. The black line without bars is the reference."
)
_COLUMNS = 3
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
_PLAIN = "0.1"


@from_csv
def draw_response(frame: pd.DataFrame) -> Figure:
    """The responses of a study, one panel each."""
    panels = list(frame["response"].unique())
    curves = [str(name) for name in frame["curve"].unique()]
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = canvas(0.9 + 1.75 * lines, PAGE_WIDTH)
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
    handles = [known[name] for name in shown]
    figure.legend(handles, shown, loc="outside lower center", ncols=5, frameon=False)
    set_title(figure, frame, f"; {counts_of(frame)}")
    return figure


def _panel(axis: Axes, part: pd.DataFrame, curves: Sequence[str]) -> None:
    """Draw a line per curve; points at the same value are shifted slightly apart."""
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
            linewidth=1.6 if plain else 1, color=_PLAIN if plain else COLOURS[place % len(COLOURS)],
        )  # fmt: skip
    axis.set_xlabel(str(part.iloc[0]["axis"]))
    values = sorted(part["x"].unique())
    axis.set_xticks(values, [f"{value:g}" for value in values], fontsize=6)
