"""The five gates that CartoonVOC and micro-CLIP must pass before they are used.

If CAMs were useless or perfect, or refinement could not improve them, studies on this data set
would say nothing about components. G1 tests recognition, G2 localisation without training, G3 the
network trained on ground truth, G4 the network trained on its own seeds, and G5 that CLIP-ES works
here. Scores marked "oracle" use pixel annotations: they are about the data set, not about a method.

Run: `python -m bench.gates.gates` (about ten minutes; writes `results/gates.json`).
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
from bench.cartoon.clip.pretrain import HELD_OUT_SEED
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import DISPLAY_NAMES
from bench.cartoon.world import WorldConfig
from bench.runs.store import write_atomically
from bench.studies.preset import CARTOON
from bench.tasks.annotation import annotation
from bench.tasks.task import open_workbench
from weakclip.config import MICRO, CrossEntropy
from weakclip.data.artifacts import content_key
from weakclip.labels import BACKGROUND, IGNORE
from weakclip.ops.confusion import class_counts, miou
from weakclip.progress import silent
from weakclip.stages.kept_seeds import ensure_seeds
from weakclip.stages.maps import CLIPMaps, ensure_maps
from weakclip.stages.method import Fitted
from weakclip.stages.seeds import Affinity, OtsuBand, PatchSoftmax, SoftmaxGradCAM
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from bench.studies.workbench import Counts
    from bench.tasks.task import ImageWorkbench
    from weakclip.clip.bundle import CLIPBundle
    from weakclip.stages.maps import MapSource
    from weakclip.stages.seeds import CAMSource

logger = logging.getLogger(__name__)

SOURCES: dict[str, CAMSource] = {
    "patch softmax": PatchSoftmax(),
    "patch softmax, value path": PatchSoftmax(path="value"),
    "Grad-CAM, CLIP-ES hook (ln_1)": SoftmaxGradCAM(layer="ln_1"),
    "Grad-CAM, CLIP-ES hook (ln_1) + CAA": SoftmaxGradCAM(layer="ln_1", affinity=Affinity()),
    "Grad-CAM, block input": SoftmaxGradCAM(),
    "Grad-CAM, block input + CAA": SoftmaxGradCAM(affinity=Affinity()),
}
CEILING = 8
"""Factor on the training steps of the ceiling, so that the schedule does not limit it."""
CEILING_VIEWS = 12
"""Views per image of the ceiling, more than usual to avoid overfitting."""
THRESHOLDS = [0.05 * step for step in range(1, 20)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate: its rule, its measurements as fractions, and whether they pass."""

    name: str
    rule: str
    figures: dict[str, float]
    passed: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all gates and write the report; return 0 if all pass, 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m bench.gates.gates", description=__doc__)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, default=Path("results/gates.json"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bench = open_workbench(CARTOON, None, torch.device("cpu"), args.artifacts)
    cams = {
        name: best_threshold(bench, CLIPMaps(source=source)) for name, source in SOURCES.items()
    }
    gates = [recognition(bench.clip), localisation(cams), ceiling(bench)]
    gates += [refinement(bench, cams["patch softmax"]), baseline(cams)]
    report = {
        "clip": dict(bench.weights),
        "data": dict(bench.data),
        "gates": [
            {"name": g.name, "rule": g.rule, "passed": g.passed, "figures": g.figures}
            for g in gates
        ],
    }
    write_atomically(args.out, (json.dumps(report, indent=1) + "\n").encode())
    for gate in gates:
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in gate.figures.items())
        logger.info("%s %s: %s", "pass" if gate.passed else "FAIL", gate.name, figures)
    return 0 if all(gate.passed for gate in gates) else 1


def recognition(clip: CLIPBundle, count: int = 1000) -> Gate:
    """G1: zero-shot top-1 on held-out scenes with one object, `a photo of a {class}`."""
    images = torch.stack(
        [
            torch.from_numpy(
                sample_scene(
                    WorldConfig(), HELD_OUT_SEED, index,
                    classes=(index % 20,), objects=1, occluders=False,
                ).image
            )
            for index in range(400, 400 + count)
        ]
    ).permute(0, 3, 1, 2)  # fmt: skip
    prompts = clip.tokenize([class_prompt("a photo of a {}", name) for name in DISPLAY_NAMES])
    texts = F.normalize(clip.text.encode_tokens(prompts), dim=-1)
    hits = []
    for start, chunk in zip(range(0, count, 100), torch.split(images, 100), strict=True):
        features = clip.image(normalise_images(chunk, clip.mean, clip.std))
        target = torch.arange(400 + start, 400 + start + len(chunk)) % 20
        hits.append((features.global_embedding @ texts.T).argmax(1) == target)
    top1 = float(torch.cat(hits).float().mean())
    return Gate(
        name="G1 zero-shot top-1", rule=">= 95 %", figures={"top-1": top1}, passed=top1 >= 0.95
    )


def localisation(cams: dict[str, float]) -> Gate:
    """G2: the best training-free CAM with known tags, oracle threshold, on `train`."""
    best = max(cams.values())
    return Gate(
        name="G2 training-free CAM (oracle threshold)",
        rule="best between 45 and 65 mIoU",
        figures=cams,
        passed=0.45 <= best <= 0.65,
    )


def ceiling(bench: ImageWorkbench) -> Gate:
    """G3: WeakCLIP's network trained on the ground truth of `train`, longer and on more views."""
    scores = ceiling_scores(bench)
    return Gate(
        name=f"G3 WeakCLIP trained on ground truth, {CEILING} x the steps, cross-entropy",
        rule=">= 80 mIoU on train, >= 70 on val",
        figures=scores,
        passed=scores["train-pseudo"] >= 0.80 and scores["val-network"] >= 0.70,
    )


def ceiling_scores(bench: ImageWorkbench) -> dict[str, float]:
    """Task -> mIoU of the network trained on the ground truth of `train`.

    The losses are cross-entropy and matching, because seeding and boundary losses are meant for
    seeds with undecided pixels, which complete masks do not have.
    """
    longer = replace(bench.preset.recipe, iterations=CEILING * bench.preset.recipe.iterations)
    preset = replace(bench.preset, recipe=longer, views=CEILING_VIEWS)
    training = preset.training(replace(MICRO, supervision=CrossEntropy()))
    network = training.build(bench.setting)
    train = bench.images["train"]
    seeds = annotation(train)
    network.fit_on_seeds(train, seeds, seed=0, report=silent)
    fitted = Fitted(bench.fitting.clip_maps("train"), network)
    key = content_key("ceiling", seeds.key, bench.clip.sha256)
    return _scores(bench.scoring.score(fitted, network, key, {}).counts)


def refinement(bench: ImageWorkbench, oracle: float) -> Gate:
    """G4: the network trained on its own seeds, compared with these seeds."""
    settled = OtsuBand(width=0.0)  # no undecided pixels
    train, maps = bench.images["train"], bench.fitting.clip_maps("train")
    closed = ensure_seeds(maps, train, settled, bench.setting)
    seeds = float(
        miou(_counts({i: closed[place] for place, i in enumerate(closed.indices)}, bench))
    )
    kept = bench.fitting.seeds("train")
    labels = torch.stack([kept[place] for place in range(len(kept))])
    annotated = torch.stack(bench.scoring.truth("train", kept.indices))
    decided = labels != IGNORE
    judged = decided & (annotated != IGNORE)
    sure, truth = labels[judged], annotated[judged]
    scores = _scores(bench.run(MICRO, 0, report=silent).counts)
    gain = scores["train-pseudo"] - max(seeds, oracle)
    return Gate(
        name="G4 WeakCLIP trained on its seeds",
        rule=">= 6 mIoU above the seeds on train (rule's and oracle threshold), CRF adds",
        figures={
            "seeds by rule": seeds, "seeds with oracle threshold": oracle, **scores, "gain": gain,
            "decided pixels": float(decided.float().mean()),
            "right among them": float((sure == truth).float().mean()),
        },
        passed=gain >= 0.06 and scores["train-pseudo-crf"] > scores["train-pseudo"],
    )  # fmt: skip


def baseline(cams: dict[str, float]) -> Gate:
    """G5: CLIP-ES's Grad-CAM works here, and its affinity improves it."""
    plain, spread = cams["Grad-CAM, block input"], cams["Grad-CAM, block input + CAA"]
    return Gate(
        name="G5 fair ground for CLIP-ES (oracle threshold)",
        rule="Grad-CAM >= 35 mIoU, better with CAA",
        figures={"Grad-CAM": plain, "with CAA": spread},
        passed=plain >= 0.35 and spread > plain,
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


def _scores(counts: dict[str, Counts]) -> dict[str, float]:
    return {task: float(miou(torch.from_numpy(c).sum(dim=0))) for task, c in counts.items()}


if __name__ == "__main__":
    raise SystemExit(main())
