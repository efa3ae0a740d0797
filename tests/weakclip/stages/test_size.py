from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.stages.size import labels_at, shrink, working_size


@pytest.mark.parametrize("size", [(1, 1), (128, 128), (375, 500), (9000, 30), (30, 9000)])
@pytest.mark.parametrize("patch", [14, 16, 32])
def test_sides_are_whole_patches_within_the_limit(size: tuple[int, int], patch: int) -> None:
    for side in working_size(size, 512, patch):
        assert side % patch == 0
        assert 4 * patch <= side <= 512


def test_an_image_that_fits_is_left_alone() -> None:
    image = torch.randint(0, 256, (3, 128, 96), dtype=torch.uint8)
    assert working_size((128, 96), 128, 16) == (128, 96)
    assert shrink(image, (128, 96)) is image
    assert shrink(image, (64, 48)).shape == (3, 64, 48)
    assert shrink(image, (64, 48)).dtype == torch.uint8


def test_labels_come_from_tagged_classes_at_the_size_of_the_file() -> None:
    scores = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))
    scores[2] += 1  # not tagged
    tags = torch.tensor([True, False, True])
    found = labels_at(scores, tags, (20, 30))
    large = F.interpolate(scores[None], (20, 30), mode="bilinear", align_corners=False)[0]
    large[2] = -1
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), large.argmax(dim=0))
    assert set(found.flatten().tolist()) == {0, 1, 3}
    assert not labels_at(scores, torch.zeros(3, dtype=torch.bool), (2, 2)).any()
