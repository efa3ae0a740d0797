"""The gates of CartoonVOC: is it as hard as photographs are for the published methods?

The limits are those of `docs/preregistration.md`. The gates use no scores of components. If a gate
fails, the data set is changed (object size, noise, style distance), never a method. Scores marked
"oracle" use pixel annotations: they are about the data set.

Run: `python -m bench.gates.gates` (about half an hour on two cores; `--only zero-shot maps`
measures some of them; `--clip FOLDER` and `--backbone FILE` measure other weights than the
embedded ones).
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.cartoon.caption import class_prompt
from bench.cartoon.pretraining.clip import HELD_OUT, HELD_OUT_SEED
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import DISPLAY_NAMES
from bench.runs.store import write_atomically
from bench.studies.method import GroundTruth, MethodRow
from bench.studies.preset import load_preset
from bench.tasks.task import open_workbench
from weakclip.convnet import random_walk
from weakclip.convnet.backbone import MICRO_BACKBONE
from weakclip.convnet.classifier import MICRO_CAM
from weakclip.dense_attention import methods
from weakclip.labels import BACKGROUND
from weakclip.ops.confusion import class_counts, miou
from weakclip.progress import silent
from weakclip.retraining.network import SmallFPN
from weakclip.retraining.recipe import Distortion
from weakclip.stages import retrain_presets
from weakclip.stages.maps import CLIPMaps, ensure_maps
from weakclip.stages.refine import OTSU, Keep
from weakclip.stages.retrain import Retraining
from weakclip.stages.seeds import Affinity, PatchSoftmax, SoftmaxGradCAM
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from bench.cartoon.world import WorldConfig
    from bench.tasks.task import ImageWorkbench
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.convnet.classifier import CAM
    from weakclip.stages.maps import MapSource
    from weakclip.stages.protocols import RefinementSpec
    from weakclip.stages.seeds import CAMSource

logger = logging.getLogger(__name__)

_OWN: dict[str, CAMSource] = {
    "patch softmax": PatchSoftmax(),
    "patch softmax, value path": PatchSoftmax(path="value"),
    "Grad-CAM, CLIP-ES hook (ln_1)": SoftmaxGradCAM(layer="ln_1"),
    "Grad-CAM, CLIP-ES hook (ln_1) + CAA": SoftmaxGradCAM(layer="ln_1", affinity=Affinity()),
    "Grad-CAM, block input": SoftmaxGradCAM(),
    "Grad-CAM, block input + CAA": SoftmaxGradCAM(affinity=Affinity()),
}
SOURCES: dict[str, MapSource] = {
    **{name: CLIPMaps(source=source) for name, source in _OWN.items()},
    **methods.MICRO,
}
"""Maps of a frozen CLIP without training."""
THRESHOLDS = [0.05 * step for step in range(1, 20)]
NAMES = ("zero-shot", "maps", "ceiling", "cam", "lifts")
SINGLE_OBJECTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate: its rule, its measurements as fractions, and whether they pass."""

    name: str
    rule: str
    figures: dict[str, float]
    passed: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the gates and write the report; return 0 if all pass, 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m bench.gates.gates", description=__doc__)
    parser.add_argument("--clip", type=Path, help="folder of a micro-CLIP, its two files")
    parser.add_argument("--backbone", default=MICRO_BACKBONE.weights, help="file of weights")
    parser.add_argument("--preset", default="cartoon", help="preset, with changes after '+'")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, default=Path("results/gates.json"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    preset = load_preset(args.preset)
    bench = open_workbench(preset, None, torch.device("cpu"), args.artifacts, weights=args.clip)
    cam = pretrained_cam(args.backbone)
    measures: dict[str, Callable[[], Gate]] = {
        "zero-shot": lambda: zero_shot(bench),
        "maps": lambda: maps(bench),
        "ceiling": lambda: ceiling(bench, full_supervision(args.backbone)),
        "cam": lambda: classifier_maps(bench, cam),
        "lifts": lambda: lifts(bench, cam, args.backbone),
    }
    gates = []
    for name in args.only:
        gates.append(measures[name]())
        _log(gates[-1])
    report = {
        "preset": args.preset,
        "clip": dict(bench.weights),
        "data": dict(bench.data),
        "gates": [
            {"name": g.name, "rule": g.rule, "passed": g.passed, "figures": g.figures}
            for g in gates
        ],
    }
    write_atomically(args.out, (json.dumps(report, indent=1) + "\n").encode())
    return 0 if all(gate.passed for gate in gates) else 1


def pretrained_cam(weights: str | Path) -> CAM:
    """`MICRO_CAM` with a classifier that starts from another file of weights."""
    classifier = MICRO_CAM.classifier
    backbone = replace(classifier.backbone, weights=weights)
    return replace(MICRO_CAM, classifier=replace(classifier, backbone=backbone))


def zero_shot(bench: ImageWorkbench, count: int = SINGLE_OBJECTS) -> Gate:
    """Zero-shot top-1 on held-out scenes with one object in the preset's styles.

    The prompt is `a photo of a {class}`.

    Raises:
        TypeError: If the preset does not draw CartoonVOC.
    """
    drawn = bench.preset.generated
    world = drawn.world if drawn is not None else None
    if world is None:
        raise TypeError(f"preset {bench.preset.name}: expected a world that is drawn")
    top1 = recognition(bench.clip, replace(world, unnamed_objects=0.0), count)
    return Gate(
        name="zero-shot top-1 on single objects",
        rule="80 to 95 %",
        figures={"top-1": top1},
        passed=0.80 <= top1 <= 0.95,
    )


def recognition(clip: CLIPBundle, world: WorldConfig, count: int) -> float:
    """Zero-shot top-1 accuracy on `count` held-out scenes with one object."""
    prompts = clip.tokenize([class_prompt("a photo of a {}", name) for name in DISPLAY_NAMES])
    texts = F.normalize(clip.text.encode_tokens(prompts), dim=-1)
    hits = []
    for start in range(HELD_OUT, HELD_OUT + count, 100):
        target = torch.arange(start, min(start + 100, HELD_OUT + count)) % len(DISPLAY_NAMES)
        scenes = [
            sample_scene(
                world, HELD_OUT_SEED, start + row, classes=(int(c),), objects=1, occluders=False
            ).image
            for row, c in enumerate(target)
        ]
        images = torch.stack([torch.from_numpy(image) for image in scenes]).permute(0, 3, 1, 2)
        features = clip.image(normalise_images(images, clip.mean, clip.std))
        hits.append((features.global_embedding @ texts.T).argmax(1) == target)
    return float(torch.cat(hits).float().mean())


def maps(bench: ImageWorkbench) -> Gate:
    """The best training-free maps of CLIP with known tags, oracle threshold, on `train`."""
    scores = {name: best_threshold(bench, source) for name, source in SOURCES.items()}
    return Gate(
        name="best training-free maps (oracle threshold)",
        rule="45 to 60 mIoU",
        figures=scores,
        passed=0.45 <= max(scores.values()) <= 0.60,
    )


def full_supervision(weights: str | None) -> Retraining:
    """The network that studies retrain, from micro-backbone, trained 16 times as long.

    Colours of training images are distorted, and predictions are averaged over three image sizes
    and mirrored images, as for upper bounds in the literature.
    """
    network = SmallFPN(channels=MICRO_BACKBONE.channels, weights=weights)
    recipe = retrain_presets.MICRO.recipe
    recipe = replace(
        recipe,
        iterations=16 * recipe.iterations,
        crops=replace(recipe.crops, distortion=Distortion()),
    )
    return Retraining(network=network, recipe=recipe, scales=(0.75, 1.0, 1.25), flip=True)


def ceiling(bench: ImageWorkbench, retraining: Retraining) -> Gate:
    """Full supervision: an ordinary network trained on the annotation of `train`."""
    row = MethodRow(
        cam=GroundTruth(), refinement=GroundTruth(), finish="none", retraining=retraining
    )
    scores = _scores(bench, row)
    return Gate(
        name=f"full supervision, {retraining.recipe.iterations:,} steps",
        rule=">= 70 mIoU on val",
        figures=scores,
        passed=scores["val-network"] >= 0.70,
    )


def classifier_maps(bench: ImageWorkbench, cam: CAM) -> Gate:
    """CAM of the pretrained backbone, known tags, oracle threshold, on `train`."""
    score = best_threshold(bench, cam)
    return Gate(
        name="CAM of the pretrained backbone (oracle threshold)",
        rule="35 to 55 mIoU",
        figures={"CAM": score},
        passed=0.35 <= score <= 0.55,
    )


def lifts(bench: ImageWorkbench, cam: CAM, weights: str) -> Gate:
    """The dense CRF and the random walk on the maps of `cam`, with thresholds by rule."""
    backbone = replace(MICRO_BACKBONE, weights=weights)
    alone = _pseudo(bench, cam, Keep(background=OTSU))
    walked = _pseudo(bench, cam, replace(random_walk.MICRO, backbone=backbone))
    figures = {
        "CAM": alone["train-pseudo"],
        "with CRF": alone["train-pseudo-crf"],
        "with random walk": walked["train-pseudo"],
    }
    return Gate(
        name="CRF and random walk on CAM",
        rule="both lift it",
        figures=figures,
        passed=min(figures["with CRF"], figures["with random walk"]) > figures["CAM"],
    )


def best_threshold(bench: ImageWorkbench, source: MapSource) -> float:
    """MIoU on `train` of maps at their best threshold, an oracle that uses the ground truth."""
    train = bench.images["train"]
    maps = ensure_maps(source, bench.setting, train, seed=0, report=silent)
    strongest = [
        F.interpolate(cam[None], train.image(i).shape[1:], mode="bilinear")[0].max(dim=0)
        for i, cam in enumerate(maps)
    ]
    scores = [
        float(
            miou(
                _counts(
                    {
                        i: (label + 1).where(strength > threshold, BACKGROUND)
                        for i, (strength, label) in enumerate(strongest)
                    },
                    bench,
                )
            )
        )
        for threshold in THRESHOLDS
    ]
    return max(scores)


def _counts(masks: dict[int, Tensor], bench: ImageWorkbench) -> Tensor:
    pred = torch.stack(list(masks.values()))
    truth = torch.stack(bench.scoring.truth("train", list(masks)))
    return class_counts(pred, truth, len(bench.class_names)).sum(dim=0)


def _pseudo(bench: ImageWorkbench, cam: CAM, refinement: RefinementSpec) -> dict[str, float]:
    return _scores(bench, MethodRow(cam=cam, refinement=refinement))


def _scores(bench: ImageWorkbench, row: MethodRow) -> dict[str, float]:
    counts = bench.run(row, 0, report=silent).counts
    return {task: float(miou(torch.from_numpy(c).sum(dim=0))) for task, c in counts.items()}


def _log(gate: Gate) -> None:
    figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in gate.figures.items())
    logger.info("%s %s (%s): %s", "pass" if gate.passed else "FAIL", gate.name, gate.rule, figures)


if __name__ == "__main__":
    raise SystemExit(main())
