from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from weakclip.network.decoder import FeaturePyramid, FPNDecoder, ScoreMapUpsampling, SemanticHead
from weakclip.network.pyramid import Finished

SCORES = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))


def maps_of(*sizes: tuple[int, int], channels: int = 6) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(2, channels, *size) for size in sizes)


def pyramid(*sizes: tuple[int, int]) -> tuple[Finished, ...]:
    return tuple(Finished(level) for level in maps_of(*sizes))


@pytest.mark.parametrize("levels", [(), (2,), (0, 1, 2, 3)])
def test_only_the_named_levels_get_the_score_map(levels: tuple[int, ...]) -> None:
    decoder = FPNDecoder(6, 5, score_levels=levels, channels=8, dropout=0.0).eval()
    maps = pyramid((16, 24), (8, 12), (4, 6), (2, 3))
    widths = [lateral.weight.shape[1] for lateral in decoder.neck.laterals]  # type: ignore[index]
    assert widths == [11 if level in levels else 6 for level in range(4)]
    logits = decoder(maps, SCORES)
    assert logits.shape == (2, 5, 16, 24)
    assert torch.equal(logits, decoder(maps, SCORES + 1)) == (not levels)


@pytest.mark.parametrize(
    "sizes",
    [
        [(20, 28), (10, 14), (5, 7), (2, 3)],  # an odd grid was halved
        [(4, 6), (4, 6), (4, 6), (4, 6)],  # no pyramid at all
        [(4, 4), (2, 2), (1, 1), (1, 1)],
    ],
)
def test_logits_have_the_size_of_the_finest_level(sizes: list[tuple[int, int]]) -> None:
    decoder = FPNDecoder(6, 5, score_levels=(0, 3), channels=8, dropout=0.1)
    assert decoder(pyramid(*sizes), SCORES).shape == (2, 5, *sizes[0])


def test_coarse_levels_reach_the_fine_ones_from_the_top_down() -> None:
    neck = FeaturePyramid((6, 6, 6, 6), 8)
    maps = list(pyramid((16, 16), (8, 8), (4, 4), (2, 2)))
    before = neck(maps)
    maps[1] = Finished(maps[1].source + 1)
    after = neck(maps)
    changed = [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    assert changed == [True, True, False, False]


def test_head_climbs_by_doubling() -> None:
    head = SemanticHead(4, 3, 0.0).eval()
    levels = maps_of((8, 8), (4, 4), (2, 2), (1, 1), channels=4)
    total = head.scales[0][0](levels[0])  # type: ignore[index]
    for level in (1, 2, 3):
        features = levels[level]
        for stage in head.scales[level].children():
            features = F.interpolate(
                stage(features), scale_factor=2, mode="bilinear", align_corners=False
            )
        total = total + features
    torch.testing.assert_close(head(levels), head.classifier(total))


def test_score_map_decoder_is_the_resized_score_map_over_tau() -> None:
    decoder = ScoreMapUpsampling(0.5)
    assert not list(decoder.parameters())
    same = pyramid((4, 6), (4, 6), (4, 6), (4, 6))
    torch.testing.assert_close(decoder(same, SCORES), SCORES * 2)
    assert decoder(pyramid((16, 24), (8, 12), (4, 6), (2, 3)), SCORES).shape == (2, 5, 16, 24)
