"""The flags of `weakclip crf`."""

from __future__ import annotations

import argparse
from pathlib import Path

PRESETS = (
    "clip-es", "deeplab", "dsrg", "irn", "psa", "weakclip-coco", "weakclip-train", "weakclip-voc",
)  # fmt: skip


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the description and the flags of `crf`."""
    parser.description = (
        "Refine class probabilities with a dense CRF. Files belong together by name: "
        "PROBS/x/cat.npy (L, H, W) and IMAGES/x/cat.jpg give OUT/x/cat.png."
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder of images")
    add("--probs", type=Path, required=True, help="folder of .npy or .npz, (L, H, W) in [0, 1]")
    add("--out", type=Path, required=True, help="folder to write to")
    add(
        "--save",
        choices=("labels", "marginals"),
        default="labels",
        help="palette PNG of the most likely label, or .npy marginals (default: labels)",
    )
    add("--preset", choices=PRESETS, default="weakclip-voc")
    add(
        "--gaussian",
        type=float,
        nargs=2,
        metavar=("SXY", "WEIGHT"),
        action="append",
        help="a smoothness term; any --gaussian or --bilateral replaces the preset's terms",
    )
    add(
        "--bilateral",
        type=float,
        nargs=3,
        metavar=("SXY", "SRGB", "WEIGHT"),
        action="append",
        help="an appearance term",
    )
    add("--iterations", type=int, help="mean-field updates (default: 10)")
    add("--clip", type=float, default=1e-5, help="smallest probability")
    add(
        "--skip-zero-labels",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="leave out labels of an image whose map is 0 everywhere: faster, and they stay 0",
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--softmax",
        dest="given",
        action="store_const",
        const="logits",
        help="the files hold logits: take their softmax over the labels",
    )
    given.add_argument(
        "--normalise",
        dest="given",
        action="store_const",
        const="positive",
        help="the files hold positive values (percent, 0 to 255): divide by their sum",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--on-existing", choices=("keep", "replace"), default="replace", help="of output files")
    parser.set_defaults(given="probabilities")
