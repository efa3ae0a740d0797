"""`weakclip refine`: masks from class activation maps of any program."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from weakclip.cli import masks
from weakclip.cli.backbone import backbone_of
from weakclip.convnet.random_walk import MICRO, RandomWalk
from weakclip.data.formats.from_files import FromFiles
from weakclip.masking.plan import PHOTOGRAPHS, plan_for
from weakclip.ops.pamr import DILATIONS
from weakclip.stages.caa import CAA
from weakclip.stages.refine import OTSU, PAMR, Keep, Otsu, Power

if TYPE_CHECKING:
    import argparse

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.masking.plan import MaskPlan
    from weakclip.stages.protocols import RefinementSpec
    from weakclip.stages.refine import BackgroundRule

ASK_CLIP = ("caa", "weakclip")
"""Methods that apply a CLIP to the images."""


def run(args: argparse.Namespace) -> int:
    """Make masks; returns 0 if all succeeded, 1 if some images failed, 2 for usage errors."""
    warns = args.method in ASK_CLIP or args.clip is not None
    return masks.carry_out(args, plan_of, "refine", warns=warns)


def plan_of(args: argparse.Namespace, clip: CLIPBundle, images: int) -> MaskPlan:
    """The plan specified by the flags; a ValueError if one does not apply to the method."""
    if args.clip is None and args.method not in ASK_CLIP:
        plan = PHOTOGRAPHS  # the CLIP is loaded but not used
    else:
        trained = args.method == "weakclip"
        plan = plan_for(clip, "weakclip" if trained else "clip-es", images=images)
    if args.method == "weakclip" and args.power is not None:
        raise ValueError("--power: weakclip learns the background from seeds; leave it out")
    if args.method != "random-walk" and (args.backbone or args.backbone_weights):
        raise ValueError("--backbone, --backbone-weights: are for --method random-walk")
    method = replace(
        plan.method,
        maps=FromFiles(folder=args.maps, format=args.format, scale=args.scale),
        refinement=_refinement(args) or plan.method.refinement,
        crf=None if args.method == "none" else plan.method.crf,
    )
    return replace(plan, method=method)


def _refinement(args: argparse.Namespace) -> RefinementSpec | None:
    """The refinement specified by the flags; None for that of the plan."""
    background = OTSU if args.power is None else Power(alpha=args.power)
    match args.method:
        case "pamr":
            return PAMR(background=background, dilations=DILATIONS)
        case "caa":
            return CAA(background=background)
        case "random-walk":
            return _random_walk(args, background)
        case "weakclip":
            return None
        case _:
            return Keep(background=background)


def _random_walk(args: argparse.Namespace, background: BackgroundRule) -> RandomWalk:
    """AffinityNet; its certain labels use powers of 1/4 and 2 times the walk's (paper: 16)."""
    if args.clip is not None and "micro" in args.clip and not args.backbone_weights:
        return replace(MICRO, background=background)
    alpha = args.power
    return RandomWalk(
        backbone=backbone_of(args, "--method random-walk"),
        sure_foreground=Otsu(edge="strong") if alpha is None else Power(alpha=alpha / 4),
        sure_background=Otsu(edge="weak") if alpha is None else Power(alpha=alpha * 2),
        background=background,
    )
