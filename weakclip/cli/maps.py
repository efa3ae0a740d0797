"""`weakclip maps`: class activation maps of the frozen CLIP, for other people's refiners."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from weakclip.cli.console import phases
from weakclip.cli.device import device_of
from weakclip.cli.masks import SHOWN, add_input_flags
from weakclip.clip.load import load_clip
from weakclip.data.formats.write_maps import write_irn_maps, write_maps
from weakclip.data.read.folder import list_folder
from weakclip.data.read.names import output_stems
from weakclip.masking.plan import plan_for
from weakclip.printable import one_line
from weakclip.stages.images import WorkingImages
from weakclip.stages.maps import CLIPMaps, ensure_maps
from weakclip.stages.seeds import Affinity, CAMSource, PatchSoftmax, SoftmaxGradCAM
from weakclip.stages.words import setting_for

if TYPE_CHECKING:
    import argparse

SOURCES: dict[str, CAMSource] = {
    "clip-es": SoftmaxGradCAM(affinity=Affinity()),
    "grad-cam": SoftmaxGradCAM(),
    "patch-softmax": PatchSoftmax(),
    "maskclip": PatchSoftmax(path="value"),
}
"""What is written; `clip-es` is the plan's own source, which suits the CLIP."""
WRITERS = {"weakclip": (write_maps, ".npz"), "irn": (write_irn_maps, ".npy")}


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the `maps` command; `run` takes what it parses."""
    parser = subparsers.add_parser(
        "maps",
        help="images and tags in, class activation maps out",
        description=(
            "Write the maps of the tagged classes of every image, a file each: OUT/a/b.npz, or "
            "OUT/a/b.npy as irn writes them (docs/your-own-maps.md). What is there already stays."
        ),
    )
    add_input_flags(parser)
    parser.add_argument("--source", choices=sorted(SOURCES), default="clip-es")
    parser.add_argument("--format", choices=sorted(WRITERS), default="weakclip")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write maps; returns 0 if all went well, 1 if some images failed, 2 for usage."""
    try:
        files = list_folder(args.images, args.tags)
        clip = load_clip(args.clip, weights=args.weights, device=device_of(args.device))
        plan = plan_for(clip, "clip-es")
        source = SOURCES[args.source]
        own = plan.method.maps
        if args.source == "clip-es" and isinstance(own, CLIPMaps):
            source = own.source
        max_side = plan.max_side if args.max_side is None else args.max_side
    except (ValueError, OSError) as error:
        sys.stderr.write(f"weakclip maps: {error}\n")
        return 2
    write, suffix = WRITERS[args.format]
    paths = [args.out / f"{stem}{suffix}" for stem in output_stems(files.names)]
    data = WorkingImages(files, max_side=max_side, patch=clip.patch_size)
    todo = [index for index in data.tagged if not paths[index].is_file()]
    written = 0
    args.out.mkdir(parents=True, exist_ok=True)
    with phases() as report, TemporaryDirectory(prefix=".maps-", dir=args.out) as folder:
        setting = setting_for(clip, files.classes, plan.words, folder=Path(folder))
        for first in range(0, len(todo), 100):
            chunk = todo[first : first + 100]
            maps = ensure_maps(
                CLIPMaps(source=source), setting, data, seed=0,
                report=lambda _done, _total: None, indices=chunk,
            )  # fmt: skip
            for index in chunk:
                size = data.file_size(index)
                if size is None or maps.lacks(index):
                    continue
                paths[index].parent.mkdir(parents=True, exist_ok=True)
                write(paths[index], maps[index], files.image_labels[index], size)
                written += 1
            report("maps", min(first + len(chunk), len(todo)), len(todo))
    for bad in [*data.bad.values(), *files.problems][:SHOWN]:
        sys.stderr.write(one_line(f"{bad.name}: {bad.reason}") + "\n")
    failed = len(data.bad) + len(files.problems)
    result = {"written": written, "kept": len(data.tagged) - len(todo), "failed": failed}
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if failed else 0
