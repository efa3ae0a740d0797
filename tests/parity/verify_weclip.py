"""Parity of WeCLIP with vectors of the release: both phases, losses, gradients, test time.

A file holds an image tower and the decoder (`param/`), text features and images (`in/`), and every
intermediate. All sizes come from the file. Each stage is run from our own results before it, but
for the losses, which are those of the release's labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.weclip.labels import PseudoLabels, chosen_blocks, pseudo_scores
from baselines.weclip.network import (
    affinity_loss,
    balanced_cross_entropy,
    field_affinity,
    pair_labels,
)
from tests.parity.released_weclip import build_method, their_name
from tests.parity.row import Row
from weakclip.labels import IGNORE
from weakclip.ops.affinity import box_mask, sinkhorn_affinity, spread
from weakclip.ops.cam import present_softmax
from weakclip.stages.seeds import grad_cams, image_logits
from weakclip.training.descent import WarmDescent, descend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from baselines.weclip.method import FittedWeCLIP
    from tests.parity.released_clip import Arrays
    from weakclip.clip.tower import TokenTrace

TOLERANCE = 1e-4
"""Absolute, and relative to the largest value for sums and gradients."""
DISAGREEING = 1e-3  # share of the pixels of a label map
LABELS = ("label", "prediction", "affinity_label", "affinity_label_with_ignore")
INPUTS = ("param/", "in/", "opt/start", "opt/gradients", "test/image")
PHASES = ("static", "rfm")


def verify(path: Path) -> list[Row]:
    """Compare our WeCLIP with the vectors in `path`, one row per reference key."""
    with np.load(path, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    ours = evaluate(config, arrays)
    return [
        compare(key, ours.get(key), reference)
        for key, reference in arrays.items()
        if not key.startswith(INPUTS) and not key.endswith("/keys")
    ]


def evaluate(config: Mapping[str, Any], arrays: Arrays) -> dict[str, Tensor]:
    """Everything we can compare, by the file's keys."""
    method = build_method(config, arrays)
    images, tags = torch.from_numpy(arrays["in/image"]), torch.from_numpy(arrays["in/tags"]).bool()
    depth = method.clip.image.depth
    trace = method.clip.image.forward_tokens(images, attention_blocks=depth, keep="each")
    field = method.decoder.field(method.fused(trace), trace.grid).detach()
    assert trace.attention is not None
    ours = {
        "out/block_tokens": torch.stack(trace.tokens[1:-1]).transpose(1, 2),
        "out/attention": trace.attention[:, :-1],
        "out/fused": field,
        "out/affinity": field_affinity(field),
        "out/seg": method.decoder.logits(field),
    }
    stages = Stages(method, trace, tags, field_affinity(field))
    for row, size in enumerate(config["original"]):
        found = stages.start(row) | stages.validation(images, row, size)
        for phase in PHASES:
            found |= stages.spread(row, phase) | stages.labels(images, row, phase)
        ours |= {f"case{row}/{key}": value for key, value in found.items()}
    for phase in PHASES:
        maps, spec = stages.maps(phase), method.spec.labels
        ours[f"{phase}/label"] = pseudo_scores(images, tags, maps, spec).argmax(dim=1)
    if "coco" in config:
        coco = build_method({**config, **config["coco"]}, arrays, "_coco")
        wide = F.pad(tags, (0, coco.classes - tags.shape[1]))
        others = Stages(coco, trace, wide, stages.affinity)
        for row, phase in ((row, phase) for row in range(len(images)) for phase in PHASES):
            found = others.spread(row, phase)
            ours |= {f"coco/case{row}/{key}": value for key, value in found.items()}
    ours |= _losses(method, arrays, images) | _test_time(method, arrays)
    return ours | (_steps(config["optimiser"], arrays) if "optimiser" in config else {})


def compare(key: str, ours: Tensor | None, reference: np.ndarray[Any, Any]) -> Row:
    """One row; labels must agree but for a thousandth, numbers within the tolerance of the key."""
    labels = key.split("/")[-1] in LABELS
    tolerance = DISAGREEING if labels else TOLERANCE
    if ours is None or tuple(ours.shape) != reference.shape:
        return Row(key, np.inf, np.inf, tolerance, passed=False)
    error = np.abs(ours.detach().numpy().astype(np.float64) - reference)
    if labels:
        share = float((error > 0).mean())
        return Row(key, share, share, tolerance, passed=share <= tolerance)
    relative = float(error.max()) / max(float(np.abs(reference).max()), 1e-30)
    scaled = key.startswith("grad/") or key.endswith("rfm/difference")
    passed = (relative if scaled else float(error.max())) <= tolerance
    return Row(key, float(error.max()), relative, tolerance, passed=passed)


@dataclass(frozen=True, slots=True)
class Stages:
    """The way from a batch to its labels, image by image; keys without the name of the image."""

    method: FittedWeCLIP
    trace: TokenTrace
    """With the attention of all blocks."""
    tags: Tensor
    affinity: Tensor

    def maps(self, phase: str) -> Tensor:
        """Refined maps, (B, F, h, w)."""
        return self.method.maps.refined(self.trace, self.tags, self._learnt(phase))

    def start(self, row: int) -> dict[str, Tensor]:
        """What comes before the spreading."""
        maps, attention, tags = self.method.maps, self.trace.attention, self.tags[row]
        assert attention is not None
        tokens = self.trace.tokens[-1][row : row + 1]
        logits = image_logits(
            maps.clip, tokens, self.trace.grid, maps.texts, pooling=maps.source.pooling
        )
        asked = F.pad(tags, (0, logits.shape[1] - len(tags)), value=True)
        cam = self._cam(row)
        return {
            "probabilities": present_softmax(logits, asked[None])[0, asked],
            "attention_last": attention[row, -1],
            "cam": cam,
            "box_mask": self._boxes(cam),
        }

    def spread(self, row: int, phase: str) -> dict[str, Tensor]:
        """The spreading step by step."""
        maps, cam, attention = self.method.maps, self._cam(row), self.trace.attention
        assert attention is not None
        found = {}
        if phase == "rfm":
            last = attention[row : row + 1, -maps.chosen_from :, 1:, 1:]
            difference, chosen = chosen_blocks(last, self.affinity[row : row + 1], maps.rule)
            found = {"rfm/difference": difference[0], "rfm/selected": chosen[0].float()}
        along = maps.attention(self.trace, self._learnt(phase))[row : row + 1]
        once, power = sinkhorn_affinity(along, power=1)[0], maps.affinity.power
        carried = spread(once, (cam * self._boxes(cam)).flatten(1), power=power)
        return found | {
            f"{phase}/attention": along[0],
            f"{phase}/transition": sinkhorn_affinity(along, power=power)[0],
            f"{phase}/refined": carried.view_as(cam),
        }

    def labels(self, images: Tensor, row: int, phase: str) -> dict[str, Tensor]:
        """Scores of the background and the tags before and after the refinement."""
        after = self.method.spec.labels
        before = replace(after, iterations=0)
        return {
            f"{phase}/{name}": self._scores(images[row : row + 1], row, phase, spec)
            for name, spec in (("scores", before), ("par", after))
        }

    def validation(self, images: Tensor, row: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """The same at the size of the annotated mask, with the image resized corner to corner."""
        resized = F.interpolate(
            images[row : row + 1], tuple(size), mode="bilinear", align_corners=True
        )
        scores = self._scores(resized, row, "rfm", self.method.spec.labels)
        known = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + self.tags[row].nonzero()[:, 0]])
        return {"val/par": scores, "val/label": known[scores.argmax(dim=0)]}

    def _learnt(self, phase: str) -> Tensor | None:
        return self.affinity if phase == "rfm" else None

    def _scores(self, image: Tensor, row: int, phase: str, spec: PseudoLabels) -> Tensor:
        tags = self.tags[row : row + 1]
        scores = pseudo_scores(image, tags, self.maps(phase)[row : row + 1], spec)
        return scores[0, F.pad(tags[0], (1, 0), value=True)]

    def _cam(self, row: int) -> Tensor:
        maps = self.method.maps
        cams = grad_cams(maps.clip, self.trace, self.tags, maps.texts, maps.source)
        return cams[self.tags.nonzero()[:, 0] == row]

    def _boxes(self, cam: Tensor) -> Tensor:
        spec = self.method.maps.affinity
        trim = spec.boxes == "release"
        return box_mask(cam, threshold=spec.box_threshold, trim_last=trim).float()


def _losses(method: FittedWeCLIP, arrays: Arrays, images: Tensor) -> dict[str, Tensor]:
    """Losses of the release's labels, with and without ignored ones, and gradients."""
    ours: dict[str, Tensor] = {}
    trace, weight = method.maps.trace(images), method.spec.affinity_weight
    for suffix, key in (("_with_ignore", "in/label_with_ignore"), ("", "rfm/label")):
        labels = torch.from_numpy(arrays[key]).long()
        field = method.decoder.field(method.fused(trace), trace.grid)
        alike, different = pair_labels(labels, trace.grid, method.spec.radius)
        segmentation = balanced_cross_entropy(method.decoder.logits(field), labels)
        affinity = affinity_loss(field_affinity(field), alike, different)
        ours |= {
            f"out/affinity_label{suffix}": torch.where(alike, 1, torch.where(different, 0, IGNORE)),
            f"loss/segmentation{suffix}": segmentation,
            f"loss/affinity{suffix}": affinity,
        }
    ours["loss/total"] = segmentation + weight * affinity
    parameters = dict(method.decoder.named_parameters())
    gradients = torch.autograd.grad(ours["loss/total"], list(parameters.values()))
    ours |= {
        f"grad/{their_name(name)}": gradient
        for name, gradient in zip(parameters, gradients, strict=True)
    }
    pairs = {"positive": alike, "negative": different}
    return ours | {f"out/{kind}_pairs": 1 + chosen.sum() for kind, chosen in pairs.items()}


def _test_time(method: FittedWeCLIP, arrays: Arrays) -> dict[str, Tensor]:
    """Logits of one view, of all views, and the prediction."""
    image = torch.from_numpy(arrays["test/image"])
    sides, long_side = image.shape[2:], method.spec.long_side
    assert long_side is not None
    resized = [side * long_side // max(sides) for side in sides]
    view = F.interpolate(image, resized, mode="bilinear", align_corners=False)
    mean = method.averaged_logits(image)
    final = F.interpolate(
        mean, arrays["test/prediction"].shape, mode="bilinear", align_corners=False
    )
    return {
        "test/segs": method.logits(view),
        "test/msc_segs": mean,
        "test/prediction": final.argmax(dim=1)[0],
    }


def _steps(options: Mapping[str, Any], arrays: Arrays) -> dict[str, Tensor]:
    """Learning rates and weights of some steps with given gradients."""
    gradients = torch.from_numpy(arrays["opt/gradients"])
    recipe = WarmDescent(
        steps=options["max_iter"],
        batch_size=1,
        learning_rate=options["lr"],
        warmup=options["warmup_iter"],
        warmup_ratio=options["warmup_ratio"],
        weight_decay=options["weight_decay"],
    )
    vector = nn.ParameterList([torch.from_numpy(arrays["opt/start"]).clone()])
    step, values = count(), list[torch.Tensor]()
    descend(
        recipe,
        lambda _rows, _generator: (vector[0] * gradients[next(step)]).sum(),
        body=nn.Sequential(), head=vector, count=1, seed=0,
        report=lambda _done, _steps: values.append(vector[0].detach().clone()),
    )  # fmt: skip
    rates = [options["lr"] * recipe.factor(index) for index in range(recipe.steps)]
    return {
        "opt/learning_rates": torch.tensor(rates, dtype=torch.float64),
        "opt/values": torch.stack(values),
    }
