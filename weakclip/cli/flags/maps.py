"""The flags of `weakclip maps`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.cli.flags.backbone import add_backbone_flags
from weakclip.cli.flags.masks import add_input_flags

if TYPE_CHECKING:
    import argparse

PLANS_OWN, CLASSIFIER = "clip-es", "cam"
SOURCES = (
    PLANS_OWN, CLASSIFIER, "grad-cam", "patch-softmax", "maskclip", "sclip", "clearclip", "naclip",
    "gem", "clip-surgery", "excel",
)  # fmt: skip
FORMATS = ("irn", "weakclip")
TRAINED = "classifier.safetensors"
"""Name of the file of a trained classifier in the output folder."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `maps`."""
    parser.description = (
        "Write the maps of the tagged classes of every image, a file each: OUT/a/b.npz, or "
        "OUT/a/b.npy as irn writes them (docs/your-own-maps.md). What is there already stays."
    )
    add_input_flags(parser)
    parser.set_defaults(clip=None)
    add = parser.add_argument
    add("--source", choices=SOURCES, default=PLANS_OWN,
        help="of the frozen CLIP, but for cam: maps of a classifier that is trained on the tags "
        f"first, which OUT/{TRAINED} holds then")  # fmt: skip
    add("--format", choices=FORMATS, default="weakclip")
    add("--batch", type=int, default=8, help="images at a time, if memory allows")
    add_backbone_flags(parser, f"--source {CLASSIFIER}")
    add("--classifier", type=Path, metavar="FILE",
        help=f"--source {CLASSIFIER}: a trained one, so that nothing is trained: {TRAINED} of an "
        "earlier run, or a timm network whose last layer has the classes of the tags, sorted as "
        "they are")  # fmt: skip
    add("--epochs", type=int, help=f"--source {CLASSIFIER}: of the training; default: 5 (IRN's)")
    add("--seed", type=int, default=0, help="of the training")
