"""The flags of `weakclip predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.masking.submission import VOC_IMAGES

if TYPE_CHECKING:
    import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `predict`."""
    parser.description = (
        "Label every image of a folder with the network that `weakclip masks --method "
        "weakclip` or `weakclip retrain` trained: OUT/masks (palette PNG) and OUT/preview. "
        "What is there already stays. Exit 0: all done; 1: some images failed; 2: wrong usage."
    )
    add = parser.add_argument
    add("--network", type=Path, required=True, help="the folder of that run")
    add("--images", type=Path, required=True, help="folder of images, or VOC's or COCO's root")
    add("--split", help="one list of VOC (default: all images), or e.g. val2014")
    add("--out", type=Path, required=True, help="folder to write to")
    add(
        "--clip", help="the CLIP that the network was trained with, where its name does not find it"
    )
    add("--weights", type=Path, help="file of the CLIP's weights")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--voc-submission", type=Path, metavar="FILE.tar.gz",
        help="also pack the masks for the VOC server (comp6); --images holds those of the test "
        "set",
    )  # fmt: skip
    add("--list", type=Path, help=f"with --voc-submission: the {VOC_IMAGES} ids, one a line")
