from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from weakclip.stages.batches import check_batch, resize_images, whole_patches


@pytest.mark.parametrize("size", [(48, 64), (23, 31), (37, 16)])
def test_resizing_is_pillows(size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, 37, 51), generator=torch.Generator().manual_seed(0))
    image = image.to(torch.uint8)
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
    expected = np.asarray(pillow.resize(size[::-1], Image.Resampling.BICUBIC), dtype=np.int64)
    ours = resize_images(image[None], size)[0].permute(1, 2, 0).numpy().astype(np.int64)
    assert np.abs(ours - expected).max() <= 1  # Pillow's coefficients are integers
    assert np.abs(ours - expected).mean() < 0.2


def test_an_image_of_the_right_size_is_left_alone() -> None:
    images = torch.zeros(1, 3, 4, 5, dtype=torch.uint8)
    assert resize_images(images, (4, 5)) is images


def test_sizes_are_rounded_up_to_whole_patches() -> None:
    assert whole_patches((375, 500), 16) == (384, 512)
    assert whole_patches((384, 512), 16) == (384, 512)
    assert whole_patches((5, 17), 16) == (16, 32)
    assert whole_patches((100, 100), 16, scale=0.5) == (64, 64)


@pytest.mark.parametrize(
    ("images", "labels", "error"),
    [
        (torch.zeros(1, 3, 4, 4), torch.ones(1, 2, dtype=torch.bool), TypeError),
        (torch.zeros(1, 3, 4, 4).byte(), torch.ones(1, 2), TypeError),
        (torch.zeros(1, 1, 4, 4).byte(), torch.ones(1, 2, dtype=torch.bool), ValueError),
        (torch.zeros(1, 3, 4).byte(), torch.ones(1, 2, dtype=torch.bool), ValueError),
        (torch.zeros(1, 3, 4, 4).byte(), torch.ones(1, 3, dtype=torch.bool), ValueError),
        (torch.zeros(1, 3, 4, 4).byte(), torch.ones(2, 2, dtype=torch.bool), ValueError),
    ],
)
def test_a_wrong_batch_is_refused(
    images: torch.Tensor, labels: torch.Tensor, error: type[Exception]
) -> None:
    with pytest.raises(error, match="expected"):
        check_batch(images, labels, classes=2)
