"""The flags of `weakclip retrain`."""

from __future__ import annotations

import argparse
from pathlib import Path

PRESETS = (
    "micro", "deeplabv3plus", "deeplabv2", "clims", "weakclip", "segformer", "upernet",
)  # fmt: skip


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `retrain`."""
    parser.description = (
        "Train a segmentation network on masks (palette or grey PNG, 0 background, 255 "
        "undecided) that anybody made: OUT/network, which `weakclip predict --network OUT` "
        "opens. The masks are checked first. The same command goes on with a training that "
        "was stopped. Exit 0: done; 1: done, but some images were left out; 2: wrong usage, "
        "or masks that cannot be trained on."
    )
    add, switch = parser.add_argument, argparse.BooleanOptionalAction
    add("--images", type=Path, required=True, help="folder of images, or VOC's root")
    add("--masks", type=Path, required=True, help="folder of masks, a/b.png for a/b.jpg")
    add("--out", type=Path, required=True, help="folder to write to")
    add("--classes", help="voc, or a file of names, one a line; default: classes.txt in "
        "--masks or above it, else the classes are numbered")  # fmt: skip
    add("--preset", default="micro", help=f"{', '.join(PRESETS)} (default: micro)")
    add("--network", help="small, deeplabv2, or an architecture of segmentation_models_pytorch: "
        "DeepLabV3Plus, FPN, Segformer, UPerNet, ...")  # fmt: skip
    add("--encoder", help="encoder of the network, e.g. resnet50 or tu-convnext_tiny")
    add("--encoder-weights", help="file of its weights, or none: random")
    add("--iterations", type=int, help="training steps")
    add("--batch", type=int, help="crops of a training step")
    add("--crop", type=int, help="side of the crops in pixels")
    add("--loss", choices=("cross-entropy", "balanced"), help="balanced: background and classes "
        "count the same")  # fmt: skip
    add("--scales", type=float, nargs="+", help="image sizes that are averaged, e.g. 1.0")
    add("--flip", action=switch, default=None, help="average with the mirror image")
    add("--crf", action=switch, default=None, help="--no-crf: without the preset's dense CRF")
    add("--max-side", type=int, help="larger images are worked on at this size")
    add("--leave-out", action="store_true", help="train without images whose mask cannot be used")
    add("--seed", type=int, default=0)
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto",
        help="of the network; auto: bfloat16 on a GPU that has it")  # fmt: skip
