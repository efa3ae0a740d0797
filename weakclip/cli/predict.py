"""`weakclip predict`: segments images with a trained network, without tags."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from weakclip.cli.console import phases
from weakclip.cli.device import device_of
from weakclip.clip.load import load_clip
from weakclip.data.read.images import read_rgb
from weakclip.data.read.layouts import Place, images_of
from weakclip.data.read.names import output_stems
from weakclip.masking.folder import write_labels, write_preview
from weakclip.masking.predict import load
from weakclip.masking.submission import write_submission
from weakclip.printable import one_line

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Segment a folder; returns 0 if all succeeded, 1 if some images failed, 2 for usage errors."""
    try:
        if (args.voc_submission is None) != (args.list is None):
            raise ValueError("--voc-submission and --list: give both, or neither")
        ids = None if args.list is None else args.list.read_text(encoding="utf-8").split()
        device = device_of(args.device)
        if args.weights is not None and args.clip is None:
            raise ValueError("--weights: say which CLIP they are of, --clip")
        clip = None
        if args.clip is not None:
            clip = load_clip(args.clip, weights=args.weights, device=device)
        network = load(args.network, clip=clip, device=device)
        root, names = images_of(Place(root=args.images, split=args.split))
        if not names:
            raise ValueError(f"{args.images}: no image in it")
        if args.out.resolve().is_relative_to(root.resolve()):
            raise ValueError(
                f"{args.out}: lies in the folder of the images, so that its previews would be "
                "images of the next run; choose another folder"
            )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"weakclip predict: {error}\n")
        return 2
    failed = 0
    with phases() as report:
        for done, (name, stem) in enumerate(zip(names, output_stems(names), strict=True), start=1):
            mask = args.out / "masks" / f"{stem}.png"
            if not mask.is_file():
                try:
                    image = read_rgb(root / name)
                    found = network.predict(image)
                    write_preview(args.out / "preview" / f"{stem}.jpg", found.labels, image)
                    write_labels(mask, found.labels)
                except ValueError as error:
                    failed += 1
                    sys.stderr.write(one_line(str(error)) + "\n")
            report("masks", done, len(names))
    packed = None
    if args.voc_submission is not None and ids is not None:
        try:
            packed = write_submission(args.voc_submission, args.out / "masks", ids)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"weakclip predict: {error}\n")
            return 1
    result = {"images": len(names), "failed": failed, "packed": packed}
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if failed else 0
