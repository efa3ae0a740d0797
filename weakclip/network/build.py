"""Builds the network of a config; the only module that distinguishes the kinds of a slot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, assert_never

import torch
from torch import nn

from weakclip.config import (
    CoAttention,
    Cosine,
    FixedTemplate,
    LearnableContext,
    PlainDecoder,
    PyramidAdapter,
    RawTaps,
    Resample,
    ScoreMapDecoder,
    SingleScale,
    StandardTaps,
    TemplateEnsemble,
    TextGuidedDecoder,
)
from weakclip.network.adapter import PyramidLayers, ResampledTaps, UnscaledTaps
from weakclip.network.decoder import FPNDecoder, ScoreMapUpsampling
from weakclip.network.matching import (
    AttentionUpdate,
    CoAttentionMatching,
    DecoderLayer,
    DirectMatching,
    NoUpdate,
    run_last,
    run_sequential,
)
from weakclip.network.model import WeakCLIP
from weakclip.network.prompts import ContextPrompt, FixedPrompt, encode_ensemble, encode_template
from weakclip.network.taps import StandardisedTaps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from weakclip.clip.bundle import CLIPBundle
    from weakclip.clip.tower import ImageTower
    from weakclip.config import (
        AdapterSlot,
        DecoderSlot,
        MatchingSlot,
        PromptSlot,
        TapScaleSlot,
        WeakCLIPConfig,
    )


def build_model(
    config: WeakCLIPConfig, clip: CLIPBundle, class_names: Sequence[str], *, seed: int = 0
) -> WeakCLIP:
    """Return the network that `config` describes, in training mode, on the device of `clip`.

    Each component draws its weights from its own generator. Configs that share a kind therefore
    share its initial weights, whatever the other slots hold, and their results are paired.

    Args:
        config: One kind per slot.
        clip: The frozen CLIP; its towers are shared, not copied.
        class_names: K names, background first.
        seed: Seed of the initial weights. The global random state is not changed.

    Raises:
        ValueError: If fewer than two classes are given or a tap does not exist in the tower.
    """
    if len(class_names) < 2:
        raise ValueError(
            f"class names: expected background and at least one class, got {list(class_names)}"
        )
    tower = clip.image.configured(
        taps=config.taps, class_token=config.class_token, drop_path=config.drop_path
    )
    with _seeded(seed, 0):
        prompt = build_prompt(config.prompt, clip, class_names)
    with _seeded(seed, 1):
        adapter = scale_taps(config.tap_scale, build_adapter(config.adapter, tower.width), tower)
    with _seeded(seed, 2):
        matching = build_matching(config.matching, tower.embed_dim)
    with _seeded(seed, 3):
        decoder = build_decoder(config.decoder, tower.width, len(class_names), config.tau)
    model = WeakCLIP(
        (tower, clip.text), prompt=prompt, adapter=adapter, matching=matching, decoder=decoder,
        rates=config.rates,
    )  # fmt: skip
    return model.to(tower.vision.proj.device)


def scale_taps(spec: TapScaleSlot, adapter: nn.Module, tower: ImageTower) -> nn.Module:
    """Return the adapter, preceded by the scaling of the taps that `spec` describes.

    Statistics start at mean 0 and standard deviation 1; see `weakclip.network.taps.set_statistics`.
    """
    match spec:
        case RawTaps():
            return adapter
        case StandardTaps():
            return StandardisedTaps(len(tower.taps), tower.width, adapter)
        case _:
            assert_never(spec)


def build_prompt(spec: PromptSlot, clip: CLIPBundle, class_names: Sequence[str]) -> nn.Module:
    """Return the prompt that `spec` describes: a module `prompt(text_tower) -> (K, E)`."""
    match spec:
        case LearnableContext():
            return ContextPrompt(
                clip.tokenize(class_names),
                clip.text.width,
                length=spec.length,
                class_specific=spec.class_specific,
                init_std=spec.init_std,
            )
        case FixedTemplate():
            return FixedPrompt(
                encode_template(clip.text, clip.tokenize, class_names, spec.template)
            )
        case TemplateEnsemble():
            return FixedPrompt(
                encode_ensemble(clip.text, clip.tokenize, class_names, spec.templates)
            )
        case _:
            assert_never(spec)


def build_adapter(spec: AdapterSlot, channels: int) -> nn.Module:
    """Return the adapter that `spec` describes: a module `adapter(taps) -> pyramid`."""
    match spec:
        case PyramidAdapter():
            # The BatchNorm statistics of a frozen adapter still change in training (release).
            return PyramidLayers(channels).requires_grad_(spec.training == "trained")
        case Resample():
            return ResampledTaps()
        case SingleScale():
            return UnscaledTaps()
        case _:
            assert_never(spec)


def build_matching(spec: MatchingSlot, embed_dim: int) -> nn.Module:
    """Return the matching that `spec` describes: a module `matching(text, global, dense)`."""
    match spec:
        case CoAttention():
            text, image = (
                _build_update(spec, embed_dim) if spec.sides in {"both", side} else NoUpdate()
                for side in ("text", "image")
            )
            module = CoAttentionMatching(embed_dim, spec.width, text, image)
            return module.apply(_initialise_linear)
        case Cosine():
            return DirectMatching()
        case _:
            assert_never(spec)


def build_decoder(spec: DecoderSlot, channels: int, classes: int, tau: float) -> nn.Module:
    """Return the decoder that `spec` describes: a module `decoder(pyramid, score_map)`."""
    match spec:
        case TextGuidedDecoder():
            return FPNDecoder(
                channels,
                classes,
                score_levels=spec.levels,
                channels=spec.channels,
                dropout=spec.dropout,
                score_scale=spec.score_scale,
                classifier_std=spec.classifier_std,
            )
        case PlainDecoder():
            return FPNDecoder(
                channels,
                classes,
                score_levels=(),
                channels=spec.channels,
                dropout=spec.dropout,
                classifier_std=spec.classifier_std,
            )
        case ScoreMapDecoder():
            return ScoreMapUpsampling(tau)
        case _:
            assert_never(spec)


def _build_update(spec: CoAttention, embed_dim: int) -> AttentionUpdate:
    layers = nn.ModuleList(
        DecoderLayer(spec.width, spec.heads, spec.dropout) for _ in range(spec.depth)
    )
    return AttentionUpdate(
        embed_dim,
        layers,
        run_sequential if spec.stacking == "sequential" else run_last,
        width=spec.width,
        initial_scale=spec.initial_scale,
    )


def _initialise_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@contextmanager
def _seeded(seed: int, slot: int) -> Iterator[None]:
    """Use a generator that belongs to the slot, and leave the global one unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1_000_003 * slot + seed)
        yield
