"""`weakclip refine`: anybody's class activation maps to masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weakclip.cli import masks
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.maps import FORMATS
from weakclip.masking.plan import plan_for
from weakclip.ops.pamr import DILATIONS
from weakclip.stages.caa import CAA
from weakclip.stages.refine import OTSU, PAMR, Keep, Power

if TYPE_CHECKING:
    import argparse

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.masking.plan import MaskPlan
    from weakclip.stages.protocols import RefinementSpec
    from weakclip.stages.refine import BackgroundRule

METHODS = ("none", "crf", "pamr", "caa", "weakclip")


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the `refine` command; `run` takes what it parses."""
    parser = subparsers.add_parser(
        "refine",
        help="anybody's class activation maps in, masks out",
        description=(
            "Make a mask of every tagged image from maps that others made (docs/your-own-maps.md "
            "lists the formats). Maps are checked first. Exit 0: all done; 1: finished, but some "
            "images failed; 2: wrong usage, or maps that do not fit the images."
        ),
    )
    masks.add_input_flags(parser)
    masks.add_training_flags(parser)
    parser.add_argument("--maps", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--format", choices=("auto", *FORMATS), default="auto")
    parser.add_argument(
        "--scale", choices=("keep", "max"), default="keep",
        help="max: negative values become 0, each map is divided by its maximum",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=METHODS, default="crf",
        help="none: maps and background; crf (default): and a dense CRF; pamr, caa, weakclip: "
        "refined so, then the dense CRF (--no-crf leaves it out)",
    )  # fmt: skip
    parser.add_argument(
        "--power", type=float, metavar="ALPHA",
        help="background score (1 - strongest map)^ALPHA; default: by Otsu's threshold",
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> int:
    """Make masks; returns 0 if all went well, 1 if some images failed, 2 for usage."""
    return masks.carry_out(args, plan_of, "refine")


def plan_of(args: argparse.Namespace, clip: CLIPBundle, images: int) -> MaskPlan:
    """The plan that the flags describe.

    Raises:
        ValueError: If a flag does not go with the method.
    """
    plan = plan_for(clip, "weakclip" if args.method == "weakclip" else "clip-es", images=images)
    background = OTSU if args.power is None else Power(alpha=args.power)
    if args.method == "weakclip" and args.power is not None:
        raise ValueError("--power: weakclip learns the background from seeds; leave it out")
    method = replace(
        plan.method,
        maps=FromFiles(folder=args.maps, format=args.format, scale=args.scale),
        refinement=_refinement(args.method, background) or plan.method.refinement,
        crf=None if args.method == "none" else plan.method.crf,
    )
    return replace(plan, method=method)


def _refinement(name: str, background: BackgroundRule) -> RefinementSpec | None:
    """The refinement of a name; none for the plan's own."""
    kinds: dict[str, RefinementSpec] = {
        "none": Keep(background=background),
        "crf": Keep(background=background),
        "pamr": PAMR(background=background, dilations=DILATIONS),
        "caa": CAA(background=background),
    }
    return kinds.get(name)
