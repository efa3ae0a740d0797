"""`weakclip maps`: class activation maps of a frozen CLIP or a classifier, for any refinement."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from weakclip.cli.backbone import backbone_of
from weakclip.cli.console import phases, write_some
from weakclip.cli.device import device_of
from weakclip.cli.flags.maps import CLASSIFIER, PLANS_OWN, TRAINED
from weakclip.cli.masks import MICRO_WARNING, SHOWN, opened, say
from weakclip.clip.load import load_clip
from weakclip.convnet.classifier import CAM, MICRO_CAM, ClassifierMasker, save_classifier
from weakclip.data.artifacts import code_id, content_key
from weakclip.data.formats.write_maps import write_irn_maps, write_maps
from weakclip.data.read.names import output_stems
from weakclip.dense_attention.methods import METHODS, micro
from weakclip.dense_attention.source import DenseAttention
from weakclip.description import describe
from weakclip.masking.plan import PHOTOGRAPHS, plan_for
from weakclip.stages.images import ONCE, Memory, WorkingImages
from weakclip.stages.maps import CLIPMaps, made_maps
from weakclip.stages.seeds import PatchSoftmax, SoftmaxGradCAM
from weakclip.stages.words import setting_for
from weakclip.training.memory import BatchSize

if TYPE_CHECKING:
    import argparse

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.masking.plan import MaskPlan
    from weakclip.stages.protocols import MaskerSpec

SOURCES: dict[str, MaskerSpec] = {
    "grad-cam": CLIPMaps(source=SoftmaxGradCAM()),
    "patch-softmax": CLIPMaps(source=PatchSoftmax()),
    **METHODS,
}
"""Sources with a frozen CLIP; others are `clip-es`, the source of the plan, and `cam`."""
WRITERS = {"weakclip": (write_maps, ".npz"), "irn": (write_irn_maps, ".npy")}


def run(args: argparse.Namespace) -> int:
    """Write maps; returns 0 if all succeeded, 1 if some images failed, 2 for usage errors."""
    try:
        files = opened(args)
        clip = load_clip(args.clip or "micro", weights=args.weights, device=device_of(args.device))
        plan = _plan(args, clip)
        say(files)
        if clip.name.endswith("micro-clip") and (args.source != CLASSIFIER or args.clip):
            sys.stderr.write(f"{MICRO_WARNING}\n")
        setting = setting_for(clip, files.classes, plan.words)
        spec = _source(args, plan, clip)
        masker = spec.build(setting)
        batch = BatchSize(args.batch)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"weakclip maps: {error}\n")
        return 2
    write, suffix = WRITERS[args.format]
    paths = [args.out / f"{stem}{suffix}" for stem in output_stems(files.names)]
    trains = args.source == CLASSIFIER and _trains(args)
    data = WorkingImages(
        files, max_side=plan.max_side, patch=clip.patch_size,
        memory=None if trains else Memory(ONCE),
    )  # fmt: skip
    todo = [index for index in data.tagged if not paths[index].is_file()]
    written, empty = 0, 0
    args.out.mkdir(parents=True, exist_ok=True)
    key = content_key(
        describe(spec), args.seed, data.key, setting.key, code_id(type(spec).__module__)
    )
    states = args.out / f"training-{key}"
    if isinstance(masker, ClassifierMasker):
        masker.states = states
    with phases() as report:
        if todo:
            masker.fit(data, seed=args.seed, report=partial(report, "training"))
        if isinstance(masker, ClassifierMasker) and todo and trains:
            save_classifier(args.out / TRAINED, masker.network, files.classes)
            shutil.rmtree(states, ignore_errors=True)
        for index, maps in made_maps(masker, data, todo, setting.device, batch):
            paths[index].parent.mkdir(parents=True, exist_ok=True)
            write(paths[index], maps, files.image_labels[index], data.sizes[index])
            written += 1
            empty += int((maps[files.image_labels[index]].amax(dim=(1, 2)) <= 0).sum())
            report("maps", written, len(todo))
    if empty:
        sys.stderr.write(f"{empty} maps of tagged classes are 0 everywhere: no evidence of them\n")
    failed = [str(bad) for bad in (*data.bad.values(), *files.problems)]
    write_some(failed, SHOWN, "more like these")
    result = {"written": written, "kept": len(data.tagged) - len(todo), "failed": len(failed)}
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if failed else 0


def _plan(args: argparse.Namespace, clip: CLIPBundle) -> MaskPlan:
    """Words, size and source of the plan; for a classifier without a CLIP, those of photographs."""
    free = args.source == CLASSIFIER and args.clip is None
    plan = PHOTOGRAPHS if free else plan_for(clip, "clip-es")
    return plan if args.max_side is None else replace(plan, max_side=args.max_side)


def _trains(args: argparse.Namespace) -> bool:
    """Whether a classifier has to be trained, because none is given or in the output folder."""
    return args.classifier is None and not (args.out / TRAINED).is_file()


def _source(args: argparse.Namespace, plan: MaskPlan, clip: CLIPBundle) -> MaskerSpec:
    """The source specified by the flags; a ValueError if one does not apply to it."""
    cartoons = clip.name.endswith("micro-clip")
    if args.source == CLASSIFIER:
        return _classifier(args, cartoons=cartoons and args.clip is not None)
    for flag in ("backbone", "backbone_weights", "classifier", "epochs"):
        if getattr(args, flag) is not None:
            raise ValueError(f"--{flag.replace('_', '-')}: is for --source {CLASSIFIER}")
    if args.source == PLANS_OWN:
        assert isinstance(plan.method.maps, CLIPMaps)
        return plan.method.maps
    found = SOURCES[args.source]
    return micro(found) if cartoons and isinstance(found, DenseAttention) else found


def _classifier(args: argparse.Namespace, *, cartoons: bool) -> CAM:
    """CAM of a classifier that is to be trained, or of an existing one."""
    own = cartoons and args.backbone is None and args.backbone_weights is None
    cam = MICRO_CAM if own else CAM()
    classifier = cam.classifier
    if not _trains(args):
        trained = args.classifier or args.out / TRAINED
        sys.stderr.write(f"{trained}: this classifier is used, and not trained again\n")
        backbone = replace(classifier.backbone, name=args.backbone or classifier.backbone.name)
        return replace(cam, classifier=replace(classifier, backbone=backbone, trained=trained))
    if not own:
        classifier = replace(classifier, backbone=backbone_of(args, f"--source {CLASSIFIER}"))
    if args.epochs is not None:
        recipe = replace(classifier.recipe, epochs=args.epochs)
        classifier = replace(classifier, recipe=recipe)
    return replace(cam, classifier=classifier)
