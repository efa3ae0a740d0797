"""`weakclip masks`: from a folder of images and their tags to masks, in one command."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from weakclip.cli.console import phases
from weakclip.clip.load import load_clip
from weakclip.data.read.folder import list_folder
from weakclip.printable import one_line
from weakclip.stages.masks import make_masks
from weakclip.stages.plan import MaskPlan, SeededTraining, TrainingFree, plan_for
from weakclip.stages.words import read_words
from weakclip.training.execution import execution_for, full_float32
from weakclip.training.parallel import local_rank, torchrun_processes

if TYPE_CHECKING:
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.stages.job import Report
    from weakclip.stages.masks import MaskRun
    from weakclip.training.execution import Execution, Precision
    from weakclip.training.parallel import Processes

MICRO_WARNING = (
    "warning: micro-CLIP knows nothing but cartoons; its masks of photographs mean nothing. "
    "For photographs: --clip ViT-B-16/openai, with --weights FILE if the file is not in a cache"
)
SHOWN = 10  # failures that are printed; all are in run.json
INTERRUPTED = 130  # what shells expect after Ctrl-C


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the `masks` command; `run` takes what it parses."""
    parser = subparsers.add_parser(
        "masks",
        help="images and tags in, masks out",
        description=(
            "Make a mask of every tagged image: OUT/masks (palette PNG), OUT/preview, "
            "OUT/masks.json (COCO RLE) and OUT/run.json (how they were made, what failed). "
            "Exit 0: all done; 1: finished, but some images failed; 2: wrong usage."
        ),
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument(
        "--tags",
        type=Path,
        help="labels.csv (file,labels; several labels: 'cat;dog') or a COCO JSON; default: "
        "IMAGES/labels.csv, or else the sub-folders are the tags",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--clip",
        default="micro",
        help="micro (default), an open_clip ViT such as ViT-B-16/openai, or the folder of one",
    )
    parser.add_argument("--weights", type=Path, help="file of the CLIP's weights")
    parser.add_argument(
        "--method",
        choices=("clip-es", "weakclip"),
        default="clip-es",
        help="clip-es trains nothing; weakclip trains on clip's seeds: better masks, more time",
    )
    parser.add_argument(
        "--words", type=Path, help="TOML or CSV of background words and class synonyms"
    )
    parser.add_argument(
        "--crf", action=argparse.BooleanOptionalAction, default=True, help="dense CRF at the end"
    )
    parser.add_argument("--max-side", type=int, help="larger images are worked on at this size")
    parser.add_argument("--tile", type=int, help="weakclip: window for large images, in pixels")
    parser.add_argument("--iterations", type=int, help="weakclip: training steps")
    parser.add_argument(
        "--untagged",
        choices=("skip", "background"),
        default="skip",
        help="images without tags get no mask (default), or one that is all background",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--batch", type=int, default=8, help="images at a time, if memory allows")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="weakclip: of the network; auto: bfloat16 on a GPU that has it, else float32",
    )
    parser.add_argument("--resume", action="store_true", help="make what is missing in OUT")
    return parser


def run(args: argparse.Namespace) -> int:
    """Make masks; returns 0 if all went well, 1 if some images failed, 2 for usage.

    Under torchrun the processes share the work, and the first one alone speaks for them.
    """
    logging.getLogger("weakclip").addHandler(logging.NullHandler())  # failures are shown below
    try:
        with torchrun_processes() as processes, phases() as report:
            done = _make(args, report if processes.first else _silent, processes)
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        sys.stderr.write(f"weakclip masks: {error}\n")
        return 2
    except OSError as error:
        begun = (args.out / "run.json").is_file()
        advice = "the masks so far are whole: --resume goes on" if begun else "choose another --out"
        sys.stderr.write(f"weakclip masks: {error}; {advice}\n")
        return 1 if begun else 2
    except KeyboardInterrupt:
        sys.stderr.write("weakclip masks: interrupted; --resume goes on\n")
        return INTERRUPTED
    if not processes.first:
        return 0  # 1 would make torchrun end the first while it writes
    _show(done, args.out)
    return 1 if done.failed else 0


def _make(args: argparse.Namespace, report: Report, processes: Processes) -> MaskRun:
    """What the flags ask for."""
    files = list_folder(args.images, args.tags)
    clip = load_clip(args.clip, weights=args.weights, device=_device(args.device))
    if clip.name.endswith("micro-clip") and processes.first:
        sys.stderr.write(f"{MICRO_WARNING}\n")
    tagged = int(files.image_labels.any(dim=1).sum())
    plan = _changed(plan_for(clip, args.method, images=tagged), args)
    return make_masks(
        files, clip, args.out, plan, resume=args.resume, batch_size=args.batch, report=report,
        processes=processes, execution=_execution(plan, clip, args.precision),
    )  # fmt: skip


def _silent(phase: str, done: int, total: int) -> None:
    """The report of all processes but the first."""


def _changed(plan: MaskPlan, args: argparse.Namespace) -> MaskPlan:
    """The plan with what the flags change of it."""
    words = plan.words if args.words is None else read_words(args.words, plan.words)
    method = plan.method
    match method:
        case SeededTraining():
            recipe = method.recipe
            if args.iterations is not None:
                warmup = min(recipe.warmup, args.iterations // 10)
                recipe = replace(recipe, iterations=args.iterations, warmup=warmup)
            tile = method.tile if args.tile is None else args.tile
            method = replace(method, recipe=recipe, tile=tile)
        case TrainingFree():
            if args.tile is not None:
                raise ValueError(
                    "--tile: is for --method weakclip; clip-es asks for the score of a whole image "
                    "(docs/data.md), so give --max-side instead"
                )
            if args.iterations is not None:
                raise ValueError("--iterations: is for --method weakclip; clip-es trains nothing")
    return replace(
        plan,
        method=method,
        words=words,
        crf=plan.crf if args.crf else None,
        max_side=plan.max_side if args.max_side is None else args.max_side,
        untagged=args.untagged,
        seed=args.seed,
    )


def _execution(
    plan: MaskPlan, clip: CLIPBundle, precision: Literal["auto"] | Precision
) -> Execution:
    """What suits the device, in the precision of the flag."""
    match plan.method:
        case SeededTraining():
            return execution_for(clip.image.vision.proj.device, precision)
        case TrainingFree():
            return execution_for(torch.device("cpu"), precision)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device here; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device(name)
    if local_rank() >= torch.cuda.device_count():
        raise ValueError(
            f"{torch.cuda.device_count()} GPU(s) here: expected one for each process; start fewer "
            "(--nproc-per-node), or use --device cpu"
        )
    full_float32()
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())


def _show(done: MaskRun, out: Path) -> None:
    for bad in done.failed[:SHOWN]:
        sys.stderr.write(one_line(f"{bad.name}: {bad.reason}") + "\n")
    if len(done.failed) > SHOWN:
        more = len(done.failed) - SHOWN
        sys.stderr.write(f"... and {more} more failures in {out / 'run.json'}\n")
    if done.skipped:
        sys.stderr.write(f"{done.skipped} images without tags were skipped (--untagged)\n")
    counts = {
        "done": done.done,
        "kept": done.kept,
        "skipped": done.skipped,
        "failed": len(done.failed),
    }
    sys.stdout.write(json.dumps(counts) + "\n")
