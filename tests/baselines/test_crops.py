from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from baselines.crops import ScaledCrops, draw_scaled_crop, place


@pytest.mark.parametrize(("side", "size"), [(10, 4), (4, 10), (5, 5)])
def test_a_view_lies_in_the_image_or_the_image_in_the_view(side: int, size: int) -> None:
    generator = np.random.default_rng(0)
    places = [place(side, size, generator) for _ in range(200)]
    assert {length for _, _, length in places} == {min(side, size)}
    starts, offsets = {start for start, _, _ in places}, {offset for _, offset, _ in places}
    assert starts == set(range(max(side - size, 0) + 1))
    assert offsets == set(range(max(size - side, 0) + 1))


def test_what_is_outside_the_image_is_black_and_maps_are_cut_alike() -> None:
    image = torch.full((3, 20, 30), 200, dtype=torch.uint8)
    image[0] = torch.arange(30)  # a ramp to the right
    maps = image[:1].float() / 30
    generator = np.random.default_rng(0)
    mirrored = 0
    for _ in range(30):
        crops = ScaledCrops(size=24, factor=(0.5, 2))
        view, cut = draw_scaled_crop([image, maps], crops, generator)
        assert view.shape == (3, 24, 24)
        inside = view[1] > 0
        assert inside.any()
        torch.testing.assert_close(cut[0], view[0] / 30)
        assert not view[0][~inside].any()
        row = view[0][inside.any(dim=1)][0][inside.any(dim=0)]
        mirrored += bool(row[0] > row[-1])
    assert 5 < mirrored < 25


def test_maps_of_another_size_cover_the_same_place() -> None:
    coarse = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse[None], (32, 48), mode="bilinear")[0]
    crops = ScaledCrops(size=40, factor=(1.5, 1.5), mirror=1)
    _, ours = draw_scaled_crop([torch.zeros(3, 32, 48), coarse], crops, np.random.default_rng(3))
    _, same = draw_scaled_crop([torch.zeros(3, 32, 48), fine], crops, np.random.default_rng(3))
    assert float((ours - same).abs().max()) < 0.1
    assert float((ours - same.flip(-1)).abs().max()) > 0.3


@pytest.mark.parametrize("wrong", [{"size": 0}, {"factor": (0, 1)}, {"factor": (2, 1)}])
def test_impossible_views_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="views: expected 0 < smallest"):
        ScaledCrops(**wrong)  # type: ignore[arg-type]
