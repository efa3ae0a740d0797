"""`weakclip masks`: masks from a folder of images and their tags."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from weakclip.cli.console import phases, write_some
from weakclip.cli.device import device_of
from weakclip.cli.main import INTERRUPTED
from weakclip.clip.load import load_clip
from weakclip.data.read.layouts import Place, open_place
from weakclip.masking.make import make_masks
from weakclip.masking.plan import MaskPlan, plan_for
from weakclip.printable import one_line
from weakclip.progress import silent
from weakclip.stages.network import SeededTraining
from weakclip.stages.words import read_words
from weakclip.training.execution import execution_for
from weakclip.training.parallel import torchrun_processes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.masking.make import MaskRun
    from weakclip.progress import StageReport
    from weakclip.training.execution import Execution, Precision
    from weakclip.training.parallel import Processes

Planned: TypeAlias = "Callable[[argparse.Namespace, CLIPBundle, int], MaskPlan]"

MICRO_WARNING = (
    "warning: micro-CLIP knows nothing but cartoons; what it makes of photographs means nothing. "
    "For photographs: --clip ViT-B-16/openai, with --weights FILE if the file is not in a cache"
)
SHOWN = 10  # number of failures printed; all are in run.json


def run(args: argparse.Namespace) -> int:
    """Make masks; returns 0 if all succeeded, 1 if some images failed, 2 for usage errors."""
    return carry_out(
        args, lambda args, clip, images: plan_for(clip, args.method, images=images), "masks"
    )


def carry_out(
    args: argparse.Namespace, planned: Planned, command: str, *, warns: bool = True
) -> int:
    """Make the masks of a plan; returns 0 if all succeeded, 1 if some failed, 2 for usage errors.

    Under torchrun the processes share the work, and only the first one writes output. `planned`
    returns the plan for flags, CLIP and number of tagged images; `warns` is about micro-CLIP.
    """
    logging.getLogger("weakclip").addHandler(logging.NullHandler())  # failures are shown below
    try:
        with torchrun_processes() as processes, phases() as report:
            shown = report if processes.first else silent
            done = _make(args, planned, shown, processes, warns=warns)
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        sys.stderr.write(f"weakclip {command}: {error}\n")
        return 2
    except OSError as error:
        begun = (args.out / "run.json").is_file()
        advice = "the masks so far are whole: --resume goes on" if begun else "choose another --out"
        sys.stderr.write(f"weakclip {command}: {error}; {advice}\n")
        return 1 if begun else 2
    except KeyboardInterrupt:
        sys.stderr.write(f"weakclip {command}: interrupted; --resume goes on\n")
        return INTERRUPTED
    if not processes.first:
        return 0  # with 1, torchrun would stop the first process while it writes
    _show(done, args.out)
    return 1 if done.failed else 0


def opened(args: argparse.Namespace) -> TaggedFiles:
    """The images and tags specified by `add_input_flags`."""
    return open_place(Place(root=args.images, split=args.split, tags=args.tags))


def _make(
    args: argparse.Namespace,
    planned: Planned,
    report: StageReport,
    processes: Processes,
    *,
    warns: bool,
) -> MaskRun:
    """Make the masks specified by the flags."""
    files = opened(args)
    if processes.first:
        say(files)
    clip = load_clip(args.clip or "micro", weights=args.weights, device=device_of(args.device))
    if warns and clip.name.endswith("micro-clip") and processes.first:
        sys.stderr.write(f"{MICRO_WARNING}\n")
    tagged = int(files.image_labels.any(dim=1).sum())
    plan = _changed(planned(args, clip, tagged), args)
    return make_masks(
        files, clip, args.out, plan, resume=args.resume, batch_size=args.batch, report=report,
        processes=processes, execution=_execution(plan, clip, args.precision),
    )  # fmt: skip


def say(files: TaggedFiles) -> None:
    """Print how the tags were interpreted, and which pictures are not listed."""
    aside = [str(bad) for bad in files.left_out]
    for line in (*files.reading, *aside[:SHOWN]):
        sys.stderr.write(one_line(line) + "\n")
    if aside:
        sys.stderr.write(f"{len(aside)} pictures are not listed as images and get no mask\n")


def _changed(plan: MaskPlan, args: argparse.Namespace) -> MaskPlan:
    """The plan with the changes of the flags."""
    words = plan.words if args.words is None else read_words(args.words, plan.words)
    training = plan.method.refinement
    if isinstance(training, SeededTraining):
        recipe = training.recipe
        if args.iterations is not None:
            warmup = min(recipe.warmup, args.iterations // 10)
            recipe = replace(recipe, iterations=args.iterations, warmup=warmup)
        if args.training_batch is not None:
            recipe = replace(recipe, batch_size=args.training_batch)
        training = replace(
            training,
            recipe=recipe,
            tile=training.tile if args.tile is None else args.tile,
            scales=training.scales if args.scales is None else tuple(args.scales),
        )
    elif args.tile is not None:
        raise ValueError(
            "--tile: is for --method weakclip; clip-es asks for the score of a whole image "
            "(docs/data.md), so give --max-side instead"
        )
    else:
        for flag in ("iterations", "training_batch", "scales"):
            if getattr(args, flag) is not None:
                word = flag.replace("_", "-")
                raise ValueError(f"--{word}: is for --method weakclip; clip-es trains nothing")
    crf = plan.method.crf if args.crf else None
    return replace(
        plan,
        method=replace(plan.method, refinement=training, crf=crf),
        words=words,
        max_side=plan.max_side if args.max_side is None else args.max_side,
        untagged=args.untagged,
        seed=args.seed,
    )


def _execution(
    plan: MaskPlan, clip: CLIPBundle, precision: Literal["auto"] | Precision
) -> Execution:
    """The execution for the device, with the precision of the flag."""
    trained = isinstance(plan.method.refinement, SeededTraining)
    device = clip.image.vision.proj.device if trained else torch.device("cpu")
    return execution_for(device, precision)


def _show(done: MaskRun, out: Path) -> None:
    again = [f"{name}: could not be read and was made again" for name in done.repaired]
    write_some(list(map(str, done.failed)), SHOWN, f"more failures in {out / 'run.json'}")
    write_some(again, SHOWN, f"more files made again, in {out / 'run.json'}")
    if done.skipped:
        sys.stderr.write(f"{done.skipped} images without tags were skipped (--untagged)\n")
    counts = {
        "done": done.done,
        "kept": done.kept,
        "skipped": done.skipped,
        "failed": len(done.failed),
    }
    sys.stdout.write(json.dumps(counts) + "\n")
