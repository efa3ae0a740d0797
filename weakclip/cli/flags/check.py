"""The flags of `weakclip check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.data.formats.maps import FORMATS

if TYPE_CHECKING:
    import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `check`."""
    parser.description = (
        "Decode every image and mask, compare them with each other and with the tags, and "
        "print what would break or bias a run, with the fix. Exit 1 if there is such a thing."
    )
    add = parser.add_argument
    add("dir", type=Path, metavar="DIR", help="the data set")
    add(
        "--layout",
        choices=("voc", "coco", "pairs", "folder"),
        help="default: voc with JPEGImages, coco with annotations/instances_*.json, pairs with "
        "images/ and masks/ or labels.csv, else folder",
    )
    add("--split", help="one list of VOC (default: all), or e.g. train2014 of COCO")
    add(
        "--tags", type=Path, help="labels.csv (file,labels) or a COCO JSON; default: DIR/labels.csv"
    )
    add("--masks", type=Path, help="folder of annotated masks: PNG, or TIFF, BMP, GIF, .npy")
    add("--maps", type=Path, help="folder of maps that others made, one an image")
    add("--format", choices=("auto", *FORMATS), default="auto", help="who wrote the maps")
    add("--classes", type=Path, help="file of class names, one a line, by label")
    add(
        "--clip",
        choices=("full", "micro"),
        default="full",
        help="vocabulary: any OpenAI or open_clip model, or the embedded micro-CLIP",
    )
    add("--examples", type=int, default=3, help="shown per finding (default: 3)")
