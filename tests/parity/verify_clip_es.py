"""Parity of CLIP-ES with vectors of the release, stage by stage.

A file holds a CLIP (`param/`), its text features (`text/`) and cases (`case{i}/`): a normalised
image, the labels in it and every intermediate up to the maps at image size. Sizes, texts and the
number of cases are those of the file; the stages after the Grad-CAM are also run from our own
Grad-CAM, never from the file's.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.clip_es import RELEASED_SOURCE, ClipES
from tests.parity.released_clip import Arrays, bundle, state_dict
from tests.parity.row import Row
from weakclip.ops.affinity import box_mask, sinkhorn_affinity, spread
from weakclip.ops.cam import present_softmax
from weakclip.stages.protocols import Setting
from weakclip.stages.seeds import Affinity, class_activation_maps, image_logits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from baselines.clip_es import ClipESMasker

ABSOLUTE = 1e-4
INPUTS = ("image", "labels")
BLOCKS = 8  # of the release, whatever the depth of the tower


def verify(path: Path) -> list[Row]:
    """Compare our CLIP-ES with the vectors in `path`, one row per reference key."""
    with np.load(path, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    ours = evaluate(config, arrays)
    return [
        compare(key, ours.get(key), reference)
        for key, reference in arrays.items()
        if not key.startswith("param/") and key.split("/")[-1] not in INPUTS
    ]


def evaluate(config: Mapping[str, Any], arrays: Arrays) -> dict[str, Tensor]:
    """Everything we can compare, by the file's keys."""
    masker = build_masker(config, arrays)
    names, words = config["class_names"], config["background"]
    sentences = [config["template"].format(word) for word in (*names, *words)]
    ours = {
        "text/fg": masker.texts.foreground,
        "text/bg": masker.texts.background,
        "text/tokens": masker.clip.tokenize(sentences),
    }
    cases = {match[0] for key in arrays if (match := re.match(r"case\d+", key))}
    for case in sorted(cases):
        image = torch.from_numpy(arrays[f"{case}/image"])
        labels = torch.from_numpy(arrays[f"{case}/labels"]).long()
        sizes = {
            name: arrays[f"{case}/{name}"].shape[-2:]
            for name in ("cam_highres", "refined_highres")
            if f"{case}/{name}" in arrays
        }
        stages = _stages(masker, image, labels, sizes)
        ours |= {f"{case}/{stage}": value for stage, value in stages.items()}
    return ours


def build_masker(config: Mapping[str, Any], arrays: Arrays) -> ClipESMasker:
    """CLIP-ES as released, on the CLIP of the file."""
    affinity = Affinity(
        boxes="release",
        blocks=min(1.0, BLOCKS / config["vision_layers"]),
        box_threshold=config.get("box_threshold", 0.4),
    )
    spec = ClipES(template=config["template"], source=replace(RELEASED_SOURCE, affinity=affinity))
    return spec.build(
        Setting(
            clip=bundle(config, state_dict(arrays)),
            class_names=tuple(config["class_names"]),
            background_words=tuple(config["background"]),
            device=torch.device("cpu"),
        )
    )


def compare(key: str, ours: Tensor | None, reference: np.ndarray[Any, Any]) -> Row:
    """One row; the tolerance is absolute."""
    if ours is None or tuple(ours.shape) != reference.shape:
        return Row(key, np.inf, np.inf, ABSOLUTE, passed=False)
    error = float(np.abs(ours.detach().numpy().astype(np.float64) - reference).max())
    relative = error / max(float(np.abs(reference).max()), 1e-30)
    return Row(key, error, relative, ABSOLUTE, passed=error <= ABSOLUTE)


def _stages(
    masker: ClipESMasker, image: Tensor, labels: Tensor, sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """The intermediates of one image; maps in the order of `labels`."""
    clip, texts, source = masker.clip, masker.texts, masker.spec.source
    affinity = source.affinity
    assert affinity is not None
    tags = torch.zeros(1, len(texts.foreground), dtype=torch.bool)
    tags[0, labels] = True
    blocks = affinity.last_blocks(clip.image.depth)
    trace = clip.image.forward_tokens(image, attention_blocks=blocks)
    assert trace.attention is not None
    patches = trace.attention[:, 1:, 1:]
    logits = image_logits(clip, trace.tokens[-1], trace.grid, texts, pooling=source.pooling)
    cam, refined = (
        class_activation_maps(clip, image, tags, texts, each)[0, labels]
        for each in (replace(source, affinity=None), source)
    )
    boxes = box_mask(cam, threshold=affinity.box_threshold, trim_last=True)
    once = sinkhorn_affinity(patches, power=1)[0]
    maps = {"cam_highres": cam, "refined_highres": refined}
    return {
        "attention_mean": patches[0],
        "transition_squared": sinkhorn_affinity(patches, power=affinity.power)[0],
        "class_probs": _probabilities(logits, tags, labels),
        "cam": cam,
        "box_mask": boxes.float(),
        "refined": spread(once, (cam * boxes).flatten(1), power=affinity.power).view_as(cam),
        **{
            name: F.interpolate(
                maps[name][None], tuple(size), mode="bilinear", align_corners=False
            )[0]
            for name, size in sizes.items()
        },
    }


def _probabilities(logits: Tensor, tags: Tensor, labels: Tensor) -> Tensor:
    """Softmax over the texts of `labels`, in that order, and of the background."""
    classes = tags.shape[1]
    allowed = F.pad(tags, (0, logits.shape[1] - classes), value=True)
    chances = present_softmax(logits, allowed)
    return torch.cat([chances[:, labels], chances[:, classes:]], dim=1)
