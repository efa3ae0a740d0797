"""`weakclip crf`: a dense CRF on a folder of images and a folder of class probabilities.

For users of other code: reads probabilities and writes label maps or marginals, one file per image,
with the results of pydensecrf and without its compiler.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from weakclip.cli.device import device_of
from weakclip.crf import dense as crf
from weakclip.data.atomic import replacing
from weakclip.data.formats.masks import write_mask
from weakclip.data.formats.scores import ROUNDING, read_scores, sums_of
from weakclip.data.read.images import read_rgb, walk
from weakclip.data.read.names import did_you_mean, meant_names, output_stems, without_suffix
from weakclip.data.read.signatures import IMAGE_SUFFIXES
from weakclip.labels import IGNORE
from weakclip.printable import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from weakclip.crf.dense import Bilateral, CRFConfig, Gaussian

logger = logging.getLogger(__name__)

PRESETS = {
    "clip-es": crf.CLIP_ES,
    "deeplab": crf.DEEPLAB,
    "dsrg": crf.DSRG,
    "irn": crf.IRN,
    "psa": crf.PSA,
    "weakclip-coco": crf.WEAKCLIP_COCO,
    "weakclip-train": crf.WEAKCLIP_TRAIN,
    "weakclip-voc": crf.WEAKCLIP_VOC,
}
PROBS_SUFFIXES = (".npy", ".npz")
BAD_FILE = (OSError, ValueError, TypeError, MemoryError, RuntimeError)
"""What reading, refining or writing a damaged or unsuitable file can raise."""

Array = np.ndarray[Any, Any]


def run(args: argparse.Namespace) -> int:
    """Refine every file of `args.probs`; returns 0 if all succeeded, else 1; 2 for usage errors."""
    try:
        config = _config(args)
        device = device_of(args.device)
        probs, images = _inputs(args)
    except ValueError as error:
        sys.stderr.write(f"weakclip crf: {error}\n")
        return 2
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.stderr.write(f"weakclip crf: {one_line(str(error))}; choose another --out\n")
        return 2
    suffix = ".png" if args.save == "labels" else ".npy"
    done = kept = failed = 0
    sums: list[tuple[float, float]] = []
    stems = sorted(probs)
    targets = output_stems([f"{stem}.npy" for stem in stems])
    for stem, target_stem in zip(stems, targets, strict=True):
        target = args.out / f"{target_stem}{suffix}"
        if args.on_existing == "keep" and target.exists():
            kept += 1
            continue
        try:
            array = read_scores(_only(stem, probs, args.probs), args.given)
            image = read_rgb(_only(stem, images, args.images))
            _refine(array, image, target, args, config, device)
            done += 1
            sums.append(sums_of(array))
        except BAD_FILE as error:
            failed += 1
            sys.stderr.write(one_line(f"{stem}: {str(error) or type(error).__name__}") + "\n")
    sys.stderr.write(_about_sums(sums))
    logger.info("%d refined, %d kept, %d failed", done, kept, failed)
    sys.stdout.write(json.dumps({"done": done, "kept": kept, "failed": failed}) + "\n")
    return 1 if failed else 0


def _about_sums(sums: Sequence[tuple[float, float]]) -> str:
    """A note if the probabilities of some pixels do not sum to 1, which may be intended."""
    off = [one for one in sums if one[0] < 1 - ROUNDING or one[1] > 1 + ROUNDING]
    if not off:
        return ""
    low, high = min(one[0] for one in off), max(one[1] for one in off)
    return (
        f"{len(off)} of {len(sums)} files: labels of a pixel add up to {low:.3g} to {high:.3g}, "
        "not to 1; taken as they are (--normalise divides by the sum)\n"
    )


def _config(args: argparse.Namespace) -> CRFConfig:
    """The CRF specified by the flags."""
    if not 0 < args.clip < 1:
        raise ValueError(f"--clip: expected a number between 0 and 1, got {args.clip}")
    config: CRFConfig = PRESETS[args.preset]
    terms: list[Gaussian | Bilateral] = [
        crf.Gaussian(sxy=sxy, weight=weight) for sxy, weight in args.gaussian or ()
    ]
    terms += [
        crf.Bilateral(sxy=sxy, srgb=srgb, weight=weight)
        for sxy, srgb, weight in args.bilateral or ()
    ]
    if terms:
        config = replace(config, terms=tuple(terms))
    if args.iterations is not None:
        config = replace(config, iterations=args.iterations)
    return config


def _inputs(args: argparse.Namespace) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Probability files and images, by name without suffix."""
    for flag, folder in (("--images", args.images), ("--probs", args.probs)):
        if not folder.is_dir():
            raise ValueError(f"{flag} {folder}: no such folder")
        if args.out.resolve() == folder.resolve():
            raise ValueError(f"--out {args.out}: is the folder of {flag}, nothing would be safe")
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out}: is a file")
    probs = _by_stem(args.probs, PROBS_SUFFIXES, args.out)
    if not probs:
        raise ValueError(f"--probs {args.probs}: no .npy or .npz file in it")
    return probs, _by_stem(args.images, IMAGE_SUFFIXES, args.out)


def _by_stem(folder: Path, suffixes: Sequence[str], skip: Path) -> dict[str, list[Path]]:
    """Files below a folder, but not in `skip`, with one of the suffixes, by path without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(walk(folder, skip=(skip,))):
        if path.suffix.lower() in suffixes:
            found.setdefault(without_suffix(path.relative_to(folder).as_posix()), []).append(path)
    return found


def _only(stem: str, found: Mapping[str, Sequence[Path]], folder: Path) -> Path:
    """The only path of that name; it must be in `folder` even after following links."""
    paths = found.get(stem, ())
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        meant = {} if paths else meant_names([stem], found.keys())
        hint = f"; {did_you_mean(stem, meant[stem])}" if meant else ""
        raise ValueError(f"expected one file of that name in {folder}, got {names}{hint}")
    if not paths[0].resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{paths[0]} leads out of {folder}")
    return paths[0]


def _refine(
    probs: Array,
    image: Array,
    target: Path,
    args: argparse.Namespace,
    config: CRFConfig,
    device: torch.device,
) -> None:
    """Refine an image (H, W, 3) with probabilities (L, H, W), and write the result."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if args.save == "labels" and len(probs) > IGNORE:
        raise ValueError(f"{len(probs)} labels do not fit into a PNG; use --save marginals")
    batch = torch.from_numpy(probs)[None].to(device)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
    present = None
    if args.skip_zero_labels:
        present = (batch != 0).flatten(2).any(2)
    marginals = crf.dense_crf(pixels, batch, config, present=present, clip=args.clip)[0].cpu()
    if args.save == "labels":
        write_mask(target, marginals.argmax(0).to(torch.uint8).numpy())
    else:
        with replacing(target) as temporary, temporary.open("wb") as file:
            np.save(file, marginals.numpy())
