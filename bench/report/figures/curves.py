"""The figure of training: loss against step. Reads only `<study>_curves.csv`."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd
import seaborn as sns

from bench.report.figures.figure import canvas, fingerprint, save, theme
from bench.report.sentences.caption import preset_label

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWS = "Training loss against step, mean over seeds; one line per row that was trained."
_STYLES = ("-", "--", ":", "-.")


def draw_curves(curves_csv: str, *, variants: Sequence[str], format_: str) -> bytes:
    """Return the figure of the training loss of each row.

    Args:
        curves_csv: Text of `<study>_curves.csv`.
        variants: The rows in their order.
        format_: `svg` or `png`.
    """
    frame = pd.read_csv(StringIO(curves_csv))
    loss = frame[frame["metric"] == "loss"]
    means = loss.groupby(["variant", "step"])["value"].mean()
    shown = [name for name in variants if name in means.index.get_level_values("variant")]
    with theme():
        colours = sns.color_palette("colorblind")
        figure = canvas(2.6 + 0.13 * ((len(shown) + 1) // 2))
        axis = figure.subplots()
        for index, name in enumerate(shown):
            style = _STYLES[index // len(colours) % len(_STYLES)]
            line = means[name]
            colour = colours[index % len(colours)]
            axis.plot(line.index, line, style, color=colour, linewidth=1, label=name)
        axis.set_xlabel("step")
        axis.set_ylabel("loss (sum of the losses of the row)")
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        first = loss.iloc[0]
        figure.suptitle(
            f"{first['study']}, preset {preset_label(first['preset'])}; "
            f"mean of n = {loss['seed'].nunique()} seeds",
            fontsize="medium",
        )
        return save(figure, format_, fingerprint(curves_csv))
