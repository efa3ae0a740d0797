"""A figure of examples: image, CAM, seed, WeakCLIP's mask, ground truth.

Made from the pictures of the gallery. The images are typical: the score of each is the median of a
class (`bench/gallery/make.py`).

Run: `python -m bench.report.figures.strip` after `python -m bench gallery`; it writes
`figures/strip.png`.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from bench.errors import BenchError
from bench.gallery.index import folder_of, read_index
from bench.runs.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.gallery.index import GalleryIndex

RESULTS = Path("results")
ROWS = 4
"""Number of images in the figure, spread evenly over the typical ones."""
CELL = 1.35
"""Side of a picture in inches."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figure and return 0; exits with code 2 if there is no gallery."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report.figures.strip", description=__doc__
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    index = read_index(args.results)
    if index is None:
        parser.error(f"no gallery in {args.results}; `python -m bench gallery` makes one")
    write_atomically(args.results / "figures" / "strip.png", strip(args.results, index))
    return 0


def strip(root: Path, index: GalleryIndex) -> bytes:
    """Return the figure as PNG, with masks of the first variant of the gallery.

    Raises:
        BenchError: If the gallery has no typical image.
    """
    typical = [image for image in index.images if image.why == "typical"]
    rows = min(ROWS, len(typical))
    chosen = [typical[place * len(typical) // rows] for place in range(rows)]
    if not chosen:
        raise BenchError("strip: expected a gallery with typical images, got none")
    variant = index.variants[0]
    columns = {
        "image": "image", "CAM": "cam", "seed": "seed", f"WeakCLIP ({variant})": f"mask-{variant}",
        "ground truth": "gt",
    }  # fmt: skip
    with mpl.rc_context({"font.size": 8, "figure.dpi": 200}):
        figure = Figure(figsize=(CELL * len(columns), CELL * len(chosen) + 0.5))
        axes = figure.subplots(len(chosen), len(columns), squeeze=False)
        for line, image in zip(axes, chosen, strict=True):
            for place, (title, key) in zip(line, columns.items(), strict=True):
                content = BytesIO((folder_of(root) / image.files[key]).read_bytes())
                with Image.open(content) as picture:
                    place.imshow(picture.convert("RGB"), interpolation="nearest")
                place.set_xticks([])
                place.set_yticks([])
                if image is chosen[0]:
                    place.set_title(title)
            line[0].set_ylabel("\n".join(image.tags))
            line[3].set_xlabel(f"IoU of this image {100 * image.scores[variant]:.0f} %", fontsize=7)
        figure.tight_layout(pad=0.3, h_pad=0.9)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
