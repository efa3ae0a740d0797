"""The flags of `weakclip data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `data`."""
    parser.description = "Build class masks (palette PNG) and lists from the official files."
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET")
    voc = sets.add_parser(
        "voc",
        help="SegmentationClassAug, the lists train, trainaug and val, and labels-SPLIT.csv",
        description=(
            "PASCAL VOC 2012 with SBD: SegmentationClassAug (VOC's masks where there are both) and "
            "the lists train, trainaug, val. --out may be the folder of --voc itself."
        ),
    )
    voc.add_argument("--voc", type=Path, required=True, help="VOCdevkit/VOC2012")
    voc.add_argument("--sbd", type=Path, required=True, help="benchmark_RELEASE/dataset")
    coco = sets.add_parser(
        "coco",
        help="class masks, lists and labels-SPLIT.csv",
        description="COCO 2014: class masks from the instances JSON, lists and tags.",
    )
    coco.add_argument(
        "--annotations", type=Path, required=True, help="annotations/instances_train2014.json"
    )
    coco.add_argument("--images", type=Path, required=True, help="train2014")
    coco.add_argument(
        "--ids",
        choices=("contiguous", "original"),
        default="contiguous",
        help="labels 1 to 80, or COCO's category ids 1 to 90 (default: contiguous)",
    )
    coco.add_argument(
        "--crowd",
        choices=("ignore", "class"),
        default="ignore",
        help="crowd regions become 255, or their class (default: ignore)",
    )
    for one in (voc, coco):
        one.add_argument("--out", type=Path, required=True, help="folder to write to")
        one.add_argument(
            "--counts",
            choices=("official", "any"),
            default="official",
            help="build nothing unless the data set is complete, or build what there is",
        )
        one.add_argument(
            "--manifest",
            type=Path,
            help="weakclip-build.json of an earlier build: build nothing unless the lists are the "
            "same, by SHA-256",
        )
        one.add_argument(
            "--archives",
            type=Path,
            help="folder of the downloaded archives: build nothing unless those that are there "
            "have the published size and MD5, and what makes the lists is as in them",
        )
        one.add_argument(
            "--on-existing",
            choices=("keep", "replace"),
            default="keep",
            help="of masks that are there and are not those of this build",
        )
