"""`weakclip retrain`: trains a segmentation network on existing masks."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from weakclip.cli.check import BytePairs
from weakclip.cli.console import phases, progress
from weakclip.cli.device import device_of
from weakclip.cli.findings import findings_table
from weakclip.cli.main import INTERRUPTED
from weakclip.data.check.checks import OF_PAIRS, run_checks
from weakclip.data.check.survey import MaskFacts, survey
from weakclip.data.read.folder import list_masked
from weakclip.data.read.images import ImageFacts
from weakclip.data.read.layouts import Place, foreground_classes, images_of
from weakclip.data.read.voc import VOC_CLASSES
from weakclip.labels import IGNORE
from weakclip.masking.retrain import preset_of, retrain
from weakclip.retraining.network import SMP, DeepLabV2, NetworkSpec, SmallFPN, build_network
from weakclip.training.execution import execution_for
from weakclip.training.parallel import torchrun_processes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from weakclip.data.check.finding import Finding
    from weakclip.data.check.survey import Survey
    from weakclip.data.read.tagged import TaggedFiles
    from weakclip.masking.predict import Network
    from weakclip.stages.retrain import Retraining

ADVICE = "fewer: --iterations; smaller: --batch, --crop, --preset micro"
NOTE = (
    "note: preset micro trains a small network, pretrained on drawn images, at 128 pixels, as "
    "CartoonVOC needs it; for photographs: --preset deeplabv3plus --encoder-weights FILE"
)
SIDES = {"micro": 128}
"""Longest side by preset; 512 for all others."""


def run(args: argparse.Namespace) -> int:
    """Train; returns 0 if all images were used, 1 if not, 2 for usage errors."""
    logging.getLogger("weakclip").addHandler(logging.NullHandler())
    try:
        with torchrun_processes() as processes:
            if processes.count > 1:
                raise ValueError("torchrun: retraining is one process; start it without torchrun")
        spec = changed(preset_of(args.preset), args)
        build_network(spec.network, 2)  # reports unknown names and missing weights early
        root, _ = images_of(Place(root=args.images))
        voc = args.classes == "voc"
        classes = VOC_CLASSES if voc else foreground_classes(args.classes, args.masks)
        files = list_masked(root, args.masks, classes or ())
        with progress("masks") as report:
            found = survey(files, BytePairs(), report=report)
        found = replace(found, files=_named(found))
        usable = _usable(found, leave_out=args.leave_out)
        if args.preset == "micro" and args.network is None:
            sys.stderr.write(f"{NOTE}\n")
        network = _train(args, spec, found.files, usable)
    except (ValueError, ImportError, OSError) as error:
        sys.stderr.write(f"weakclip retrain: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("weakclip retrain: interrupted; the same command goes on\n")
        return INTERRUPTED
    left_out = len(found.files) - len(usable)
    result = {
        "images": len(usable), "left_out": left_out, "classes": len(network.class_names),
        "iterations": spec.recipe.iterations, "network": (args.out / "network").as_posix(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if left_out else 0


def changed(spec: Retraining, args: argparse.Namespace) -> Retraining:
    """The retraining with the changes of the flags; a ValueError if one is invalid."""
    recipe = spec.recipe
    if args.iterations is not None:
        warmup = min(recipe.schedule.warmup, args.iterations // 10)
        schedule = replace(recipe.schedule, warmup=warmup)
        recipe = replace(recipe, iterations=args.iterations, schedule=schedule)
    if args.batch is not None:
        recipe = replace(recipe, batch_size=args.batch)
    if args.crop is not None:
        recipe = replace(recipe, crops=replace(recipe.crops, size=args.crop))
    if args.loss is not None:
        recipe = replace(recipe, loss=args.loss)
    network = _network(spec.network, args)
    if network.weights is None and recipe.batch_norm == "frozen":
        sys.stderr.write("note: an encoder from random weights; its batch norms are trained\n")
        recipe = replace(recipe, batch_norm="trained")
    return replace(
        spec,
        network=network,
        recipe=recipe,
        scales=spec.scales if args.scales is None else tuple(args.scales),
        flip=spec.flip if args.flip is None else args.flip,
        crf=None if args.crf is False else spec.crf,
    )


def _network(spec: NetworkSpec, args: argparse.Namespace) -> NetworkSpec:
    """The network of the preset with the changes of the flags."""
    if args.network is not None:
        match args.network.lower():
            case "small":
                spec = SmallFPN()
            case "deeplabv2":
                spec = DeepLabV2()
            case _:
                spec = SMP(architecture=args.network)
    if args.encoder is not None:
        if isinstance(spec, SmallFPN):
            spec = replace(spec, channels=None)
        file = f"weights/{args.encoder.removeprefix('tu-')}.safetensors"
        weights = None if spec.weights is None else file
        spec = replace(spec, encoder=args.encoder, weights=weights)
    if args.encoder_weights is not None:
        weights = None if args.encoder_weights == "none" else args.encoder_weights
        spec = replace(spec, weights=weights)
    return spec


def _train(
    args: argparse.Namespace, spec: Retraining, files: TaggedFiles, usable: Sequence[int]
) -> Network:
    device = device_of(args.device)
    side = SIDES.get(args.preset, 512) if args.max_side is None else args.max_side
    with phases(ADVICE) as report:
        return retrain(
            files, args.out, spec, max_side=side, seed=args.seed, device=device,
            execution=execution_for(device, args.precision), indices=usable,
            report=partial(report, "training"),
        )  # fmt: skip


def _named(found: Survey) -> TaggedFiles:
    """The files with class names; if there are none, the labels in the masks become the names."""
    if found.files.classes:
        return found.files
    labels = {label for _, some in found.labelled_masks() for label in some if label < IGNORE}
    return replace(
        found.files, classes=tuple(str(one) for one in range(1, max(labels, default=0) + 1))
    )


def _usable(found: Survey, *, leave_out: bool) -> list[int]:
    """Indices of the images to train on; problems of the others are shown."""
    findings = run_checks(found, OF_PAIRS)
    _show(found, findings)
    usable = [index for index in range(len(found.files)) if _fits(found, index)]
    stopping = [each for each in findings if each.kind.severity == "breaks"]
    binary = [each for each in findings if each.kind.name == "mask-binary"]
    if binary or not usable:
        reason = (binary or stopping)[0].kind if binary or stopping else None
        what = f"{reason.what}; {reason.fix}" if reason else "no image has a mask"
        raise ValueError(f"{found.files.mask_root}: {what}")
    if stopping and not leave_out:
        count = sum(facts is not None for facts in found.masks) - len(usable)
        raise ValueError(
            f"{count} of {len(found.files)} images cannot be trained on (above); mend them, or "
            "give --leave-out to train without them"
        )
    return usable


def _fits(found: Survey, index: int) -> bool:
    """Whether image and mask have the same size and the mask has only labels of the classes."""
    image, mask = found.images[index], found.masks[index]
    if not isinstance(image, ImageFacts) or not isinstance(mask, MaskFacts):
        return False
    known = {*range(len(found.files.classes) + 1), IGNORE}
    return image.size == mask.size and not mask.lossy and (mask.labels or {-1}) <= known


def _show(found: Survey, findings: Sequence[Finding]) -> None:
    """Print a table of the findings to stderr, if there are any."""
    if findings:
        masks = sum(mask is not None for mask in found.masks)
        title = f"{len(found.files)} images, {masks} masks"
        Console(file=sys.stderr, highlight=False).print(findings_table(title, findings, 3))
