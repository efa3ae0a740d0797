"""`weakclip crf`: the dense CRF on a folder of images and a folder of class probabilities.

For users of other code: probabilities in, label maps or marginals out, one file per image, with the
numbers of pydensecrf and without its compiler.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from weakclip.crf import dense as crf
from weakclip.data.formats.masks import write_mask
from weakclip.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

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
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
PROBS_SUFFIXES = (".npy", ".npz")
BAD_FILE = (OSError, ValueError, TypeError, SyntaxError, EOFError, MemoryError, RuntimeError)
"""What a damaged or unfitting file can raise while it is read, refined or written."""

Array = np.ndarray[Any, Any]


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the `crf` command; `run` takes what it parses."""
    parser = subparsers.add_parser(
        "crf",
        help="dense CRF on a folder of class probabilities",
        description=(
            "Refine class probabilities with a dense CRF. Files belong together by name: "
            "PROBS/cat.npy (L, H, W) and IMAGES/cat.jpg give OUT/cat.png."
        ),
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument(
        "--probs", type=Path, required=True, help="folder of .npy or .npz, floats (L, H, W)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--save",
        choices=("labels", "marginals"),
        default="labels",
        help="palette PNG of the most likely label, or .npy marginals (default: labels)",
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="weakclip-voc")
    parser.add_argument(
        "--gaussian",
        type=float,
        nargs=2,
        metavar=("SXY", "WEIGHT"),
        action="append",
        help="a smoothness term; any --gaussian or --bilateral replaces the preset's terms",
    )
    parser.add_argument(
        "--bilateral",
        type=float,
        nargs=3,
        metavar=("SXY", "SRGB", "WEIGHT"),
        action="append",
        help="an appearance term",
    )
    parser.add_argument("--iterations", type=int, help="mean-field updates (default: 10)")
    parser.add_argument("--clip", type=float, default=1e-5, help="smallest probability")
    parser.add_argument(
        "--skip-zero-labels",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="leave out labels of an image whose map is 0 everywhere: faster, and they stay 0",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--on-existing", choices=("keep", "replace"), default="replace", help="of output files"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Refine every file of `args.probs`; returns 0 if all went well, 1 if not, 2 for usage."""
    try:
        config = _config(args)
        device = _device(args.device)
        probs, images = _inputs(args)
    except ValueError as error:
        sys.stderr.write(f"weakclip crf: {error}\n")
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    suffix = ".png" if args.save == "labels" else ".npy"
    done = kept = failed = 0
    for stem in sorted(probs):
        target = args.out / f"{stem}{suffix}"
        if args.on_existing == "keep" and target.exists():
            kept += 1
            continue
        try:
            array = _read_probs(_only(probs[stem], args.probs))
            image = _read_image(_only(images.get(stem, []), args.images))
            _refine(array, image, target, args, config, device)
            done += 1
        except (*BAD_FILE, zipfile.BadZipFile, Image.DecompressionBombError) as error:
            failed += 1
            sys.stderr.write(f"{stem}: {error or type(error).__name__}\n")
    logger.info("%d refined, %d kept, %d failed", done, kept, failed)
    sys.stdout.write(json.dumps({"done": done, "kept": kept, "failed": failed}) + "\n")
    return 1 if failed else 0


def _config(args: argparse.Namespace) -> CRFConfig:
    """The CRF of the flags."""
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


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device here; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _inputs(args: argparse.Namespace) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Probability files and images by their name without suffix."""
    for flag, folder in (("--images", args.images), ("--probs", args.probs)):
        if not folder.is_dir():
            raise ValueError(f"{flag} {folder}: no such folder")
        if args.out.resolve() == folder.resolve():
            raise ValueError(f"--out {args.out}: is the folder of {flag}, nothing would be safe")
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out}: is a file")
    probs = _by_stem(args.probs, PROBS_SUFFIXES)
    if not probs:
        raise ValueError(f"--probs {args.probs}: no .npy or .npz file in it")
    return probs, _by_stem(args.images, IMAGE_SUFFIXES)


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Files of a folder with one of the suffixes, by name without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, []).append(path)
    return found


def _only(paths: Sequence[Path], folder: Path) -> Path:
    """The one path, which lies in `folder` also after links are followed."""
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise ValueError(f"expected one file of that name in {folder}, got {names}")
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
    """Refine one image (H, W, 3) with probabilities (L, H, W) and write the result."""
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
        _write_array(target, marginals.numpy())


def _read_probs(path: Path) -> Array:
    """Probabilities (L, H, W) of an .npy, or of an .npz with one array or one called `probs`."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded:
            name = loaded.files[0] if len(loaded.files) == 1 else "probs"
            if name not in loaded.files:
                raise ValueError(f"{path.name}: expected one array or 'probs', got {loaded.files}")
            loaded = loaded[name]
    array: Array = np.asarray(loaded)
    if array.ndim != 3 or array.dtype.kind != "f":
        raise ValueError(
            f"{path.name}: expected floats of shape (L, H, W), got {array.dtype} {array.shape}"
        )
    return array.astype(np.float32)


def _read_image(path: Path) -> Array:
    """RGB values (H, W, 3), uint8."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _write_array(path: Path, array: Array) -> None:
    """Write an .npy file, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, array)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
