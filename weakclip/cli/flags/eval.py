"""The flags of `weakclip eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.data.formats.maps import FORMATS

if TYPE_CHECKING:
    import argparse

SEAMS_SWEEP = "0:0.59:0.01"
ABSENT = ("union", "gt", "eps", "nan")
"""Values of `weakclip.evaluation.scores.Absent`."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `eval`."""
    parser.description = (
        "Pooled mIoU, scores of each class, boundary IoU and more, of masks or of maps that "
        "anybody made; with --against the difference of two results, its 95 %% interval and "
        "p-value. Exit 0: all listed images are scored; 1: some are not; 2: wrong usage."
    )
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--masks", type=Path, help="folder of label PNGs, or a COCO JSON")
    place.add_argument("--maps", type=Path, help="folder of .npy, .npz or .png, one an image")
    parser.add_argument("--truth", type=Path, required=True, help="folder of label PNGs")
    parser.add_argument("--against", type=Path, help="a second result, of masks or maps")
    parser.add_argument("--list", type=Path, help="the images, one a line; default: all of --truth")
    parser.add_argument(
        "--classes",
        help="voc, coco, coco-original, or a file of names; default: classes.txt in --truth or "
        "above it",
    )
    maps = parser.add_argument_group("maps")
    maps.add_argument("--format", choices=("auto", *FORMATS), default="auto", help="who wrote them")
    maps.add_argument("--grid", choices=("image", "coarse"), default="image", help="of irn's files")
    maps.add_argument("--scale", choices=("keep", "max"), default="keep", help="max: divide by it")
    maps.add_argument(
        "--ids",
        choices=("contiguous", "original"),
        default="contiguous",
        help="original: the maps' labels are COCO's category ids, the ground truth's are 1 to 80",
    )
    rules = maps.add_mutually_exclusive_group()
    rules.add_argument(
        "--background",
        metavar="RULE",
        help="own (of the files), 0.3 (a constant), power:4, otsu, otsu:1 or band:0.2:0.6 (between "
        "which pixels are undecided)",
    )
    rules.add_argument(
        "--sweep",
        nargs="?",
        const=SEAMS_SWEEP,
        metavar="START:STOP:STEP",
        help=f"oracle: the constant that scores best on --truth (default: {SEAMS_SWEEP})",
    )
    count = parser.add_argument_group("counting")
    count.add_argument("--ignore", type=int, default=255, help="void (default: 255)")
    count.add_argument(
        "--undecided",
        choices=("miss", "background", "drop"),
        default="miss",
        help="a predicted void pixel is missed (default), background, or not counted",
    )
    count.add_argument(
        "--missing",
        choices=("report", "background"),
        default="report",
        help="images without a prediction are reported (default) or scored as all background",
    )
    count.add_argument(
        "--absent", choices=ABSENT, default="union", help="classes without pixels in the mean"
    )
    count.add_argument(
        "--boundary",
        type=float,
        nargs="*",
        default=[0.02],
        metavar="SHARE",
        help="widths of boundary IoU, shares of the diagonal (default: 0.02; none: leave it out)",
    )
    count.add_argument(
        "--diagnose",
        action="store_true",
        help="what costs most mIoU: errors by kind, class, distance to a contour and size, each "
        "with the gain if it did not occur",
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="all numbers, one a row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers, as on stdout")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="the sweep, or IoU by class")
    parser.add_argument("--examples", type=int, default=3, help="shown per finding (default: 3)")
