from __future__ import annotations

import numpy as np
import torch

from weakclip.labels import IGNORE
from weakclip.training.views import Framing, draw_view, normalise_images

IMAGE = torch.arange(3 * 32 * 48, dtype=torch.int64).remainder(251).to(torch.uint8).view(3, 32, 48)
SEEDS = torch.arange(32 * 48).view(32, 48) % 3


def test_a_view_is_a_function_of_its_generator() -> None:
    framing = Framing(size=24, ratio=(0.5, 2.0))
    views = [draw_view(IMAGE, SEEDS, framing, np.random.default_rng(3)) for _ in range(2)]
    assert torch.equal(views[0][0], views[1][0])
    assert torch.equal(views[0][1], views[1][1])
    assert views[0][0].shape == (3, 24, 24)
    assert views[0][1].shape == (24, 24)


def test_what_lies_outside_the_image_is_undecided() -> None:
    framing = Framing(size=64, ratio=(0.5, 0.5), mirror=0.0)
    pixels, seeds = draw_view(IMAGE, SEEDS, framing, np.random.default_rng(0))
    assert (seeds[32:] == IGNORE).all()
    assert (pixels[:, 32:] == 0).all()
    assert (seeds[:32, :48] != IGNORE).all()


def test_image_and_seeds_are_mirrored_together() -> None:
    framing = Framing(size=32, ratio=(1.0, 1.0), mirror=1.0, largest_class=1.0)
    seeds = (torch.arange(48).expand(32, 48) >= 24).long()
    image = (seeds * 200).to(torch.uint8).expand(3, -1, -1)
    pixels, labels = draw_view(image, seeds, framing, np.random.default_rng(1))
    assert torch.equal(pixels[0] > 100, labels == 1)
    assert (labels[:, 0] >= labels[:, -1]).all()


def test_normalisation_by_hand() -> None:
    images = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    result = normalise_images(images, (10.0, 10.0, 10.0), (1.0, 2.0, 4.0))
    assert result.flatten().tolist() == [0.0, 5.0, 5.0]
