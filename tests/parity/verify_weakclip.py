"""Parity of the network, its losses and its sliding window with vectors of the release.

Every size comes from the file: from its `config` and from the shapes of its parameters.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from tests.parity.row import Row
from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.tensors import unwrap
from weakclip.config import (
    CoAttention,
    LearnableContext,
    PyramidAdapter,
    TextGuidedDecoder,
    WeakCLIPConfig,
)
from weakclip.crf.dense import WEAKCLIP_TRAIN
from weakclip.network.build import build_model
from weakclip.network.released import load_released, our_name
from weakclip.stages.inference import slide_logits
from weakclip.training.losses import (
    boundary_loss,
    class_probabilities,
    images_on_grid,
    logits_on_grid,
    matching_loss,
    refine,
    seeding_loss,
    seeds_on_grid,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from weakclip.network.model import WeakCLIP

Arrays = dict[str, np.ndarray[Any, Any]]
HEADS = 4  # of the co-attention; neither shapes nor the file's config tell
RELATIVE = 1e-4
WITH_CRF = 2e-3  # the boundary loss and every gradient pass through a dense CRF


def verify(path: Path) -> list[Row]:
    """Compare our WeakCLIP with the vectors in `path`, one row per reference key."""
    with np.load(path) as file:
        arrays: Arrays = dict(file)
    config = json.loads(str(arrays.pop("config")))
    model = build_reference_model(config, arrays)
    ours = evaluate(model, config, arrays)
    rows = []
    for key, reference in arrays.items():
        if not key.startswith(("param/", "in/")):
            rows.append(compare(key, ours.get(key), reference))
    return rows


def build_reference_model(config: Mapping[str, Any], arrays: Arrays) -> WeakCLIP:
    """The release's network at the sizes of the file, with its parameters, in evaluation mode."""
    model = build_model(
        _weakclip_config(config, arrays), _clip(config, arrays), config["class_names"]
    )
    load_released(model, unwrap(_under("param/", arrays)))
    return model.eval()


def evaluate(model: WeakCLIP, config: Mapping[str, Any], arrays: Arrays) -> dict[str, Tensor]:
    """Everything we can compare, by the file's keys."""
    images = torch.from_numpy(arrays["in/image"])
    seeds = torch.from_numpy(arrays["in/label"]).squeeze(1)
    pyramid, neck = _watch(model.adapter), _watch(model.decoder.get_submodule("neck"))
    features = model.encode(images)
    output = model(features)
    height, width = config["feature_size"]
    logits = logits_on_grid(output.logits, (height, width))
    grid_images = images_on_grid(
        images, (height, width), mean=config["image_mean"], std=config["image_std"]
    )
    probabilities = class_probabilities(logits)
    losses = {
        "loss/decode.loss_boundary": boundary_loss(logits, grid_images, WEAKCLIP_TRAIN),
        "loss/decode.loss_seeding": seeding_loss(logits, seeds_on_grid(seeds, (height, width))),
        "loss/aux_identity.loss_ce": config["identity_weight"]
        * matching_loss(output.score_map, seeds, tau=config["tau"]),
    }
    model.zero_grad()
    torch.autograd.backward(list(losses.values()))
    return {
        **{f"out/adapter_level{index}": level.features() for index, level in enumerate(pyramid[0])},
        **{f"out/neck_level{index}": level for index, level in enumerate(neck[0])},
        "out/global_embedding": features.global_embedding,
        "out/dense_embedding": features.dense_embedding,
        "out/text_embedding_prompted": output.text_embeddings.unsqueeze(0),
        "out/text_embedding_matched": output.matched.text,
        "out/score_map": output.score_map,
        "out/decode_logits": output.logits,
        "out/full_logits": model.segment(images),
        "out/loss_probs": probabilities,
        "out/loss_crf_log_probs": refine(probabilities, grid_images, WEAKCLIP_TRAIN).log(),
        "out/slide_logits": slide_logits(
            model,
            torch.from_numpy(arrays["in/slide_image"]),
            crop=config["slide_crop"],
            stride=config["slide_stride"],
            rescale_to=tuple(config["slide_rescale_to"]),
        ),
        **losses,
        **_gradients(model, arrays),
    }


def compare(key: str, ours: Tensor | None, reference: np.ndarray[Any, Any]) -> Row:
    """One row; errors are relative to the largest absolute value of the reference."""
    tolerance = (
        WITH_CRF if key.startswith("grad/") or "boundary" in key or "crf" in key else RELATIVE
    )
    if ours is None or tuple(ours.shape) != reference.shape:
        return Row(key, np.inf, np.inf, tolerance, passed=False)
    error = float(np.abs(ours.detach().numpy().astype(np.float64) - reference).max())
    relative = error / max(float(np.abs(reference).max()), 1e-30)
    return Row(key, error, relative, tolerance, passed=relative <= tolerance)


def _watch(module: torch.nn.Module) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []
    module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    return seen


def _gradients(model: WeakCLIP, arrays: Arrays) -> dict[str, Tensor]:
    """Gradients of what learns; a layer that is never used (release) has one of zero."""
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    renamed = {name: parameters.get(our_name(name) or "") for name in _under("grad/", arrays)}
    return {
        f"grad/{name}": torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in renamed.items()
        if parameter is not None
    }


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


def _weakclip_config(config: Mapping[str, Any], arrays: Arrays) -> WeakCLIPConfig:
    contexts = arrays["param/contexts"]
    layers = {
        key.split(".")[2] for key in arrays if key.startswith("param/context_decoder.decoder.")
    }
    return WeakCLIPConfig(
        prompt=LearnableContext(length=contexts.shape[1], class_specific=len(contexts) > 1),
        adapter=PyramidAdapter(),
        matching=CoAttention(
            stacking="last",
            depth=len(layers),
            width=config["cd"],
            heads=config.get("cd_heads", HEADS),
        ),
        decoder=TextGuidedDecoder(channels=config["fpn"]),
        tau=config["tau"],
        taps=tuple(config["out_indices"]),
        class_token="release",
    )


def _clip(config: Mapping[str, Any], arrays: Arrays) -> CLIPBundle:
    tokens = arrays["param/text_encoder.token_embedding.weight"]
    clip = CLIP(
        config["outd"],
        CLIPVisionCfg(
            layers=config["layers"],
            width=config["width"],
            head_width=config["width"] // config["heads"],
            patch_size=arrays["param/backbone.conv1.weight"].shape[-1],
            image_size=config["res"],
        ),
        CLIPTextCfg(
            context_length=len(arrays["param/text_encoder.positional_embedding"]),
            vocab_size=len(tokens),
            width=config["tw"],
            heads=config["th"],
            layers=config["tl"],
        ),
        quick_gelu=config.get("quick_gelu", True),
    )
    return CLIPBundle.from_open_clip(
        clip,
        lambda _names: torch.from_numpy(arrays["in/token_ids"]),
        mean=tuple(config["image_mean"]),
        std=tuple(config["image_std"]),
        name="random",
        sha256="",
    )
