"""The flags of `weakclip refine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.cli.flags import masks
from weakclip.cli.flags.backbone import add_backbone_flags
from weakclip.data.formats.maps import FORMATS

if TYPE_CHECKING:
    import argparse

METHODS = ("none", "crf", "pamr", "caa", "random-walk", "weakclip")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `refine`."""
    parser.description = (
        "Make a mask of every tagged image from maps that others made (docs/your-own-maps.md "
        "lists the formats). Maps are checked first. Exit 0: all done; 1: finished, but some "
        "images failed; 2: wrong usage, or maps that do not fit the images."
    )
    masks.add_input_flags(parser)
    masks.add_training_flags(parser)
    parser.set_defaults(clip=None)
    add_backbone_flags(parser, "--method random-walk")
    parser.add_argument("--maps", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--format", choices=("auto", *FORMATS), default="auto")
    parser.add_argument(
        "--scale", choices=("keep", "max"), default="keep",
        help="max: negative values become 0, each map is divided by its maximum",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=METHODS, default="crf",
        help="none: maps and background; crf (default): and a dense CRF; pamr, caa, random-walk, "
        "weakclip: refined so, then the dense CRF (--no-crf leaves it out). caa and weakclip "
        "need --clip",
    )  # fmt: skip
    parser.add_argument(
        "--power", type=float, metavar="ALPHA",
        help="background score (1 - strongest map)^ALPHA; default: by Otsu's threshold",
    )  # fmt: skip
