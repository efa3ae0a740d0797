"""The figure of training: loss against step. Reads only `<study>_curves.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.figure import COLOURS, canvas, from_csv, legend_below, set_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

SHOWS = "Training loss against step, mean over seeds; one line per row that was trained."
_STYLES = ("-", "--", ":", "-.")


@from_csv
def draw_curves(frame: pd.DataFrame, *, variants: Sequence[str]) -> Figure:
    """The training loss of each row, in the order of `variants`."""
    loss = frame[frame["metric"] == "loss"]
    means = loss.groupby(["variant", "step"])["value"].mean()
    shown = [name for name in variants if name in means.index.get_level_values("variant")]
    figure = canvas(2.6 + 0.13 * ((len(shown) + 1) // 2))
    axis = figure.subplots()
    for index, name in enumerate(shown):
        style = _STYLES[index // len(COLOURS) % len(_STYLES)]
        line = means[name]
        colour = COLOURS[index % len(COLOURS)]
        axis.plot(line.index, line, style, color=colour, linewidth=1, label=name)
    axis.set_xlabel("step")
    axis.set_ylabel("loss (sum of the losses of the row)")
    legend_below(figure, axis)
    set_title(figure, loss, f"; mean of n = {loss['seed'].nunique()} seeds")
    return figure
