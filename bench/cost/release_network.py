"""The network's components layer by layer, as in the release.

`weakclip` merges consecutive linear layers and applies the classifier before upsampling. Here
nothing is merged: two deconvolutions, score maps concatenated to the features, their 1x1
convolutions, upsampling, sum, dropout, classifier. `bench.cost.release_cost` compares the cost of
both, and `tests/bench/cost/test_release_network.py` their results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.errors import BenchError
from weakclip.network.adapter import PyramidLayers
from weakclip.network.decoder import FPNDecoder
from weakclip.network.matching import text_to_pixel_scores
from weakclip.network.model import Output
from weakclip.network.taps import StandardisedTaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from weakclip.clip.tower import Features
    from weakclip.network.decoder import SemanticHead
    from weakclip.network.model import WeakCLIP

    Maps = tuple[Tensor, ...]


def layer_by_layer(model: WeakCLIP, features: Features) -> Output:
    """The result of `model(features)` up to rounding, with the same dropout.

    In training mode the running statistics of the model are updated.

    Raises:
        BenchError: If the adapter is not the pyramid's, or the decoder not the FPN's.
    """
    adapter, decoder, taps = model.adapter, model.decoder, features.taps
    if isinstance(adapter, StandardisedTaps):
        taps = adapter.standard(taps)
        adapter = adapter.adapter
    if not (isinstance(adapter, PyramidLayers) and isinstance(decoder, FPNDecoder)):
        raise BenchError(
            "layer by layer: expected PyramidLayers and FPNDecoder, got "
            f"{type(adapter).__name__} and {type(decoder).__name__}"
        )
    text = model.text()
    pyramid = adapt(adapter, taps)
    matched = model.matching(text, features.global_embedding, features.dense_embedding)
    score_map = text_to_pixel_scores(matched.dense, matched.text)
    return Output(
        score_map=score_map,
        logits=decode(decoder, pyramid, score_map),
        text_embeddings=text,
        matched=matched,
    )


def adapt(adapter: PyramidLayers, taps: Maps) -> Maps:
    """Four maps (B, D, h_i, w_i), finest first, from four taps (B, D, h, w)."""
    last = adapter.level3(taps[3])
    window = (min(2, last.shape[2]), min(2, last.shape[3]))
    return (
        adapter.level0(taps[0]),
        adapter.level1(taps[1]),
        adapter.level2(taps[2]),
        F.max_pool2d(last, window),
    )


def decode(decoder: FPNDecoder, pyramid: Maps, score_map: Tensor) -> Tensor:
    """Logits (B, K, h_0, w_0) from four maps (B, D, h_i, w_i) and the score map (B, K, h, w)."""
    levels = list(pyramid)
    for index in decoder.score_levels:
        size = levels[index].shape[2:]
        scores = F.interpolate(score_map, size, mode="bilinear", align_corners=True)
        levels[index] = torch.cat([levels[index], decoder.score_scale * scores], dim=1)
    merged = [layer(level) for layer, level in zip(decoder.neck.laterals, levels, strict=True)]
    for index in range(len(merged) - 1, 0, -1):
        grown = F.interpolate(merged[index], merged[index - 1].shape[2:])
        merged[index - 1] = merged[index - 1] + grown
    return segment(
        decoder.head,
        [layer(level) for layer, level in zip(decoder.neck.outputs, merged, strict=True)],
    )


def segment(head: SemanticHead, levels: Sequence[Tensor]) -> Tensor:
    """Logits, (B, K, h_0, w_0), from four maps (B, C, h_i, w_i)."""
    most = levels[0].shape[2:]
    climbed = []
    for level, stages in zip(levels, head.scales, strict=True):
        features = level
        for stage in stages.children():
            size = [
                min(2 * side, limit) for side, limit in zip(features.shape[2:], most, strict=True)
            ]
            features = _grown(stage(features), size)
        climbed.append(_grown(features, most))
    total = sum(climbed[1:], climbed[0])
    return cast("Tensor", head.classifier(head.dropout(total)))


def _grown(features: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=False)
