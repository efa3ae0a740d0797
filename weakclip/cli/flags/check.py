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
    parser.add_argument("dir", type=Path, metavar="DIR", help="the data set")
    parser.add_argument(
        "--layout",
        choices=("voc", "coco", "pairs", "folder"),
        help="default: voc with JPEGImages, coco with annotations/instances_*.json, pairs with "
        "images/ and masks/ or labels.csv, else folder",
    )
    parser.add_argument("--split", help="one list of VOC (default: all), or e.g. train2014 of COCO")
    parser.add_argument(
        "--tags", type=Path, help="labels.csv (file,labels) or a COCO JSON; default: DIR/labels.csv"
    )
    parser.add_argument(
        "--masks", type=Path, help="folder of annotated masks: PNG, or TIFF, BMP, GIF, .npy"
    )
    parser.add_argument("--maps", type=Path, help="folder of maps that others made, one an image")
    parser.add_argument(
        "--format", choices=("auto", *FORMATS), default="auto", help="who wrote the maps"
    )
    parser.add_argument("--classes", type=Path, help="file of class names, one a line, by label")
    parser.add_argument(
        "--clip",
        choices=("full", "micro"),
        default="full",
        help="vocabulary: any OpenAI or open_clip model, or the embedded micro-CLIP",
    )
    parser.add_argument("--examples", type=int, default=3, help="shown per finding (default: 3)")
