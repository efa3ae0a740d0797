"""Parity of WeCLIP with vectors of the release: every stage, both phases, losses, test time.

A file holds an image tower and the decoder (`param/`), text features and images (`in/`), and every
intermediate. All sizes come from the file. Each stage is run from our own results before it, but
for the losses, which are those of the release's labels.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines import clip_es
from baselines.descent import WarmDescent, descend
from baselines.weclip import VOC, FittedWeCLIP, WeCLIP
from baselines.weclip_labels import (
    PseudoLabels,
    Selection,
    chosen_blocks,
    learnt_attention,
    pseudo_scores,
)
from baselines.weclip_network import (
    DecoderSize,
    affinity_loss,
    balanced_cross_entropy,
    field_affinity,
    pair_labels,
)
from tests.parity.released_clip import REGISTERED, Arrays
from tests.parity.row import Row
from weakclip.clip.bundle import CLIPBundle
from weakclip.labels import IGNORE
from weakclip.stages.protocols import Setting
from weakclip.ops.affinity import box_mask, sinkhorn_affinity, spread
from weakclip.ops.cam import present_softmax
from weakclip.stages.seeds import TextBank, grad_cams, image_logits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from weakclip.clip.tower import TokenTrace

ABSOLUTE = RELATIVE = 1e-4
DISAGREEING = 1e-3  # share of the pixels of a label map
LABEL_MAPS = ("label", "prediction", "affinity_label", "affinity_label_with_ignore")

THEIRS = {
    "projections": "decoder_fts_fuse.linears_modulelist",
    "fuse": "decoder_fts_fuse.linear_fuse",
    "blocks": "decoder.transformer.resblocks",
    "classifier": "decoder.linear_pred",
}
"""First word of our parameter names to the release's."""
PARTS = {
    "projections.0": "proj",
    "projections.2": "proj_2",
    "self_attn": "attn",
    "linear1": "mlp.c_fc",
    "linear2": "mlp.c_proj",
    "norm1": "ln_1",
    "norm2": "ln_2",
}


def verify(path: Path) -> list[Row]:
    """Compare our WeCLIP with the vectors in `path`, one row per reference key."""
    with np.load(path, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    ours = evaluate(config, arrays)
    return [
        compare(key, ours.get(key), reference)
        for key, reference in arrays.items()
        if not key.startswith(("param/", "in/", "opt/start", "opt/gradients"))
        and key not in {"test/image"}
        and not key.endswith("/keys")
    ]


def evaluate(config: Mapping[str, Any], arrays: Arrays) -> dict[str, Tensor]:
    """Everything we can compare, by the file's keys."""
    method = build_method(config, arrays, "")
    images, tags = torch.from_numpy(arrays["in/image"]), torch.from_numpy(arrays["in/tags"]).bool()
    trace = method.trace(images)
    field = method.decoder.field(method.fused(trace), trace.grid)
    stages = Stages(method, trace, tags, field_affinity(field))
    with torch.no_grad():
        logits = method.decoder.logits(field)
    assert trace.attention is not None
    ours = {
        "out/block_tokens": torch.stack(trace.tokens[1:-1]).transpose(1, 2),
        "out/attention": trace.attention[:, :-1],
        "out/fused": field,
        "out/affinity": stages.affinity,
        "out/seg": logits,
    }
    for phase in ("static", "rfm"):
        maps = stages.maps(phase)
        scores = pseudo_scores(images, tags, maps, method.spec.labels)
        ours[f"{phase}/label"] = scores.argmax(dim=1)
        unrefined = replace(method.spec.labels, iterations=0)
        before = pseudo_scores(images, tags, maps, unrefined)
        for row in range(len(images)):
            known = [0, *(1 + tags[row].nonzero().flatten()).tolist()]
            ours |= stages.spread(row, phase)
            ours[f"case{row}/{phase}/scores"] = before[row, known]
            ours[f"case{row}/{phase}/par"] = scores[row, known]
    for row in range(len(images)):
        ours |= stages.start(row)
        ours |= _validation(stages, images, row, config["original"][row])
    if "coco" in config:
        ours |= _coco(config, arrays, images, tags, stages.affinity)
    return (
        ours | _losses(method, arrays, images) | _test_time(method, arrays) | _steps(config, arrays)
    )


@dataclass(frozen=True, slots=True)
class Stages:
    """The intermediates of a batch."""

    method: FittedWeCLIP
    trace: TokenTrace
    tags: Tensor
    affinity: Tensor

    def maps(self, phase: str) -> Tensor:
        """Refined maps, (B, F, h, w)."""
        learnt = self.affinity.detach() if phase == "rfm" else None
        return self.method.refined(self.trace, self.tags, learnt)

    def start(self, row: int) -> dict[str, Tensor]:
        """What comes before the spreading."""
        method, assert_attention = self.method, self.trace.attention
        assert assert_attention is not None
        clip, texts, source = method.clip, method.texts, method.spec.maps.source
        tags, tokens = self.tags[row : row + 1], self.trace.tokens[-1][row : row + 1]
        logits = image_logits(clip, tokens, self.trace.grid, texts, pooling=source.pooling)
        background = logits.shape[1] - tags.shape[1]
        chances = present_softmax(logits, F.pad(tags, (0, background), value=True))
        cam = self.cam(row)
        return {
            f"case{row}/probabilities": torch.cat(
                [chances[0, : tags.shape[1]][tags[0]], chances[0, tags.shape[1] :]]
            ),
            f"case{row}/attention_last": assert_attention[row, -1],
            f"case{row}/cam": cam,
            f"case{row}/box_mask": self.boxes(cam),
        }

    def cam(self, row: int) -> Tensor:
        """The maps before the spreading, (K, h, w)."""
        method = self.method
        cams = grad_cams(method.clip, self.trace, self.tags, method.texts, method.spec.maps.source)
        return cams[self.tags.nonzero()[:, 0] == row]

    def boxes(self, cam: Tensor) -> Tensor:
        """Boxes of maps (K, h, w)."""
        spec = self.method.affinity
        trim = spec.boxes == "release"
        return box_mask(cam, threshold=spec.box_threshold, trim_last=trim).float()

    def spread(self, row: int, phase: str) -> dict[str, Tensor]:
        """The spreading step by step."""
        method = self.method
        assert self.trace.attention is not None
        patches = self.trace.attention[row : row + 1, :, 1:, 1:]
        found: dict[str, Tensor] = {}
        if phase == "static":
            attention = patches[:, -method.first_blocks :].mean(dim=1)
        else:
            rule, affinity = method.spec.selection.rule, self.affinity[row : row + 1].detach()
            last = patches[:, -method.chosen_from :]
            difference, chosen = chosen_blocks(last, affinity, rule)
            found = {"difference": difference[0], "selected": chosen[0].float()}
            attention = learnt_attention(last, affinity, rule)
        cam, power = self.cam(row), method.affinity.power
        sources = (cam * self.boxes(cam)).flatten(1)
        once = sinkhorn_affinity(attention, power=1)[0]
        found |= {
            "attention": attention[0],
            "transition": sinkhorn_affinity(attention, power=power)[0],
            "refined": spread(once, sources, power=power).view_as(cam),
        }
        return {f"case{row}/{phase}/{name}": value for name, value in found.items()}


def build_method(config: Mapping[str, Any], arrays: Arrays, suffix: str) -> FittedWeCLIP:
    """WeCLIP as released, on the tower and the decoder of the file.

    Args:
        config: Of the file.
        arrays: Of the file.
        suffix: "" for VOC, "_coco" for COCO.
    """
    foreground, background = (
        torch.from_numpy(arrays[f"in/text_{kind}{suffix}"]) for kind in ("fg", "bg")
    )
    sizes = config["coco"] if suffix else config
    depth = config["layers"]
    affinity = VOC.maps.source.affinity
    assert affinity is not None
    affinity = replace(
        affinity, blocks=sizes["static_blocks"] / depth, box_threshold=sizes["box_threshold"]
    )
    spec = replace(
        VOC,
        maps=replace(
            clip_es.MICRO,
            positions=VOC.maps.positions,
            source=replace(VOC.maps.source, affinity=affinity),
        ),
        decoder=_decoder_size(config, arrays),
        selection=Selection(blocks=sizes["rfm_blocks"] / depth),
        labels=PseudoLabels(
            iterations=config["par"]["iterations"], dilations=tuple(config["par"]["dilations"])
        ),
        radius=config["radius"],
        affinity_weight=config["loss_weights"]["affinity"],
        long_side=config["resize_long"],
        scales=tuple(config["test_scales"]),
    )
    method = _built(spec, config, arrays, len(foreground))
    method.texts = TextBank(foreground, background)
    state = {name: arrays.get(f"param/{their_name(name)}") for name in method.decoder.state_dict()}
    if missing := sorted(name for name, value in state.items() if value is None):
        raise ValueError(f"missing ({len(missing)}): {their_name(missing[0])}")
    if not suffix:
        method.decoder.load_state_dict(
            {name: torch.from_numpy(value) for name, value in state.items() if value is not None}
        )
    return method


def their_name(name: str) -> str:
    """The release's name of the decoder's parameter `name`."""
    first, *rest = name.split(".")
    words = [THEIRS[first], *rest]
    if first == "projections":
        words[2] = PARTS[f"{first}.{rest[1]}"]
    elif first == "blocks":
        words[2] = PARTS[rest[1]]
    return ".".join(words)


def compare(key: str, ours: Tensor | None, reference: np.ndarray[Any, Any]) -> Row:
    """One row; labels must agree but for a thousandth, numbers within the tolerance of the key."""
    labels = key.split("/")[-1] in LABEL_MAPS
    tolerance = DISAGREEING if labels else ABSOLUTE
    if ours is None or tuple(ours.shape) != reference.shape:
        return Row(key, np.inf, np.inf, tolerance, passed=False)
    error = np.abs(ours.detach().numpy().astype(np.float64) - reference)
    if labels:
        share = float((error > 0).mean())
        return Row(key, share, share, tolerance, passed=share <= tolerance)
    worst = float(error.max())
    relative = worst / max(float(np.abs(reference).max()), 1e-30)
    scaled = key.startswith(("grad/", "opt/learning_rates")) or key.endswith("rfm/difference")
    passed = (relative if scaled else worst) <= tolerance
    return Row(key, worst, relative, tolerance, passed=passed)


def _validation(
    stages: Stages, images: Tensor, row: int, size: tuple[int, int]
) -> dict[str, Tensor]:
    """Labels at the size of the annotated mask, from the image resized corner to corner."""
    resized = F.interpolate(images[row : row + 1], tuple(size), mode="bilinear", align_corners=True)
    tags, maps = stages.tags[row : row + 1], stages.maps("rfm")[row : row + 1]
    scores = pseudo_scores(resized, tags, maps, stages.method.spec.labels)
    known = [0, *(1 + tags[0].nonzero().flatten()).tolist()]
    return {f"case{row}/val/par": scores[0, known], f"case{row}/val/label": scores[0].argmax(0)}


def _coco(
    config: Mapping[str, Any], arrays: Arrays, images: Tensor, tags: Tensor, affinity: Tensor
) -> dict[str, Tensor]:
    """The same with COCO's constants, texts and number of classes."""
    method = build_method(config, arrays, "_coco")
    classes = len(method.texts.foreground)
    wide = F.pad(tags, (0, classes - tags.shape[1]))
    stages = Stages(method, method.trace(images), wide, affinity)
    return {
        f"coco/{name}": value
        for row in range(len(images))
        for phase in ("static", "rfm")
        for name, value in stages.spread(row, phase).items()
    }


def _losses(method: FittedWeCLIP, arrays: Arrays, images: Tensor) -> dict[str, Tensor]:
    """Losses of the release's labels, with and without ignored ones, and gradients."""
    ours: dict[str, Tensor] = {}
    for suffix, key in (("", "rfm/label"), ("_with_ignore", "in/label_with_ignore")):
        labels = torch.from_numpy(arrays[key]).long()
        trace = method.trace(images)
        field = method.decoder.field(method.fused(trace), trace.grid)
        alike, different = pair_labels(labels, trace.grid, method.spec.radius)
        segmentation = balanced_cross_entropy(method.decoder.logits(field), labels)
        affinity = affinity_loss(field_affinity(field), alike, different)
        pairs = torch.where(alike, 1, torch.where(different, 0, IGNORE))
        ours |= {
            f"out/affinity_label{suffix}": pairs,
            f"loss/segmentation{suffix}": segmentation,
            f"loss/affinity{suffix}": affinity,
        }
        if suffix:
            continue
        total = segmentation + method.spec.affinity_weight * affinity
        method.decoder.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        ours |= {
            "loss/total": total,
            "out/positive_pairs": alike.sum() + 1,
            "out/negative_pairs": different.sum() + 1,
        }
        ours |= {
            f"grad/{their_name(name)}": each.grad
            for name, each in method.decoder.named_parameters()
            if each.grad is not None
        }
    return {key: value.detach().clone() for key, value in ours.items()}


def _test_time(method: FittedWeCLIP, arrays: Arrays) -> dict[str, Tensor]:
    """Logits of one view, of all views, and the prediction."""
    image = torch.from_numpy(arrays["test/image"])
    single = replace(method.spec, scales=(1.0,))
    size = arrays["test/prediction"].shape
    sides = image.shape[2:]
    resized = [side * (single.long_side or max(sides)) // max(sides) for side in sides]
    view = F.interpolate(image, resized, mode="bilinear", align_corners=False)
    trace = method.trace(view)
    with torch.no_grad():
        one = method.decoder.logits(method.decoder.field(method.fused(trace), trace.grid))
    mean = method.averaged_logits(image)
    final = F.interpolate(mean, size, mode="bilinear", align_corners=False)
    return {
        "test/segs": one,
        "test/msc_segs": mean,
        "test/prediction": final.argmax(dim=1)[0],
    }


def _steps(config: Mapping[str, Any], arrays: Arrays) -> dict[str, Tensor]:
    """Learning rates and weights of some steps with given gradients."""
    if "opt/gradients" not in arrays:
        return {}
    options, gradients = config["optimiser"], torch.from_numpy(arrays["opt/gradients"])
    recipe = WarmDescent(
        steps=options["max_iter"],
        batch_size=1,
        learning_rate=options["lr"],
        warmup=options["warmup_iter"],
        warmup_ratio=options["warmup_ratio"],
        weight_decay=options["weight_decay"],
    )
    vector = nn.ParameterList([nn.Parameter(torch.from_numpy(arrays["opt/start"]).clone())])
    step, values = count(), list[torch.Tensor]()
    descend(
        recipe,
        lambda _rows, _generator: (vector[0] * gradients[next(step)]).sum(),
        body=nn.Sequential(),
        head=vector,
        count=1,
        seed=0,
        report=lambda _done, _steps: values.append(vector[0].detach().clone()),
    )
    rates = [options["lr"] * recipe.factor(index) for index in range(recipe.steps)]
    return {
        "opt/learning_rates": torch.tensor(rates, dtype=torch.float64),
        "opt/values": torch.stack(values),
    }


def _decoder_size(config: Mapping[str, Any], arrays: Arrays) -> DecoderSize:
    return DecoderSize(
        channels=len(arrays["param/decoder_fts_fuse.linear_fuse.bias"]),
        blocks=config["decoder_layers"],
        heads=config["decoder_heads"],
    )


def _built(spec: WeCLIP, config: Mapping[str, Any], arrays: Arrays, classes: int) -> FittedWeCLIP:
    """The method on the tower of the file; the text tower is absent there and random here."""
    clip = CLIP(
        config["embed_dim"],
        CLIPVisionCfg(
            layers=config["layers"],
            width=config["width"],
            head_width=config["width"] // config["heads"],
            patch_size=config["patch"],
            image_size=config["resolution"],
        ),
        CLIPTextCfg(context_length=77, width=16, heads=1, layers=1),
        quick_gelu=True,
    )
    state = {
        name: torch.from_numpy(value)
        for name, value in _under("param/encoder.visual.", arrays)
        if name != REGISTERED.removeprefix("visual.")
    }
    try:
        clip.visual.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"parameters do not fit the config: {error}") from error
    clip.logit_scale.data = torch.from_numpy(arrays["param/encoder.logit_scale"])
    tokenizer = open_clip.SimpleTokenizer()
    bundle = CLIPBundle.from_open_clip(
        clip.eval(),
        lambda texts: tokenizer(list(texts)),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        name="tiny",
        sha256="",
    )
    names = tuple(f"class {index}" for index in range(classes))
    return spec.build(
        Setting(
            clip=bundle, class_names=names, background_words=("sky",), device=torch.device("cpu")
        )
    )


def _under(prefix: str, arrays: Arrays) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for key, value in arrays.items():
        if re.match(re.escape(prefix), key):
            yield key.removeprefix(prefix), value
