"""The flags of `weakclip masks`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `masks`."""
    parser.description = (
        "Make a mask of every tagged image: OUT/masks (palette PNG), OUT/preview, "
        "OUT/masks.json (COCO RLE) and OUT/run.json (how they were made, what failed). "
        "Exit 0: all done; 1: finished, but some images failed; 2: wrong usage."
    )
    add_input_flags(parser)
    add_training_flags(parser)
    parser.add_argument(
        "--method",
        choices=("clip-es", "weakclip"),
        default="clip-es",
        help="clip-es trains nothing; weakclip trains on clip's seeds: better masks, more time",
    )


def add_input_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of all commands that apply a CLIP to tagged images."""
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder of images, or VOC's or COCO's root")
    add("--tags", type=Path, help="labels.csv (file,labels; several labels: 'cat;dog') or a COCO "
        "JSON; default: VOC's or COCO's own, IMAGES/labels.csv, or else the sub-folders are the "
        "tags")  # fmt: skip
    add("--split", help="one list of VOC (default: all), or e.g. train2014 of COCO")
    add("--out", type=Path, required=True, help="folder to write to")
    add("--clip", default="micro", help="micro (default), an open_clip ViT such as "
        "ViT-B-16/openai, or the folder of one")  # fmt: skip
    add("--weights", type=Path, help="file of the CLIP's weights")
    add("--max-side", type=int, help="larger images are worked on at this size")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the commands that make masks."""
    add, switch = parser.add_argument, argparse.BooleanOptionalAction
    add("--words", type=Path, help="TOML or CSV of background words and class synonyms")
    add("--crf", action=switch, default=True, help="dense CRF at the end")
    add("--tile", type=int, help="weakclip: window for large images, in pixels")
    add("--iterations", type=int, help="weakclip: training steps")
    add("--training-batch", type=int, help="weakclip: images of a training step")
    add("--scales", type=float, nargs="+",
        help="weakclip: image sizes that are averaged, e.g. 1.0")  # fmt: skip
    add("--untagged", choices=("skip", "background"), default="skip",
        help="images without tags get no mask (default), or one of background")  # fmt: skip
    add("--seed", type=int, default=0, help="of the training")
    add("--batch", type=int, default=8, help="images at a time, if memory allows")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto",
        help="weakclip: of the network; auto: bfloat16 on a GPU that has it")  # fmt: skip
    add("--resume", action="store_true", help="make what is missing in OUT")
