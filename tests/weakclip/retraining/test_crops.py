from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from weakclip.labels import IGNORE
from weakclip.retraining.crops import MEAN, CropStream, distort, draw_crop
from weakclip.retraining.recipe import Crops, Distortion, RetrainingRecipe

IMAGE = torch.arange(48 * 40, dtype=torch.int64).reshape(1, 48, 40).expand(3, 48, 40)
IMAGE = (IMAGE % 251).to(torch.uint8)
MASK = (IMAGE[0] % 7).to(torch.uint8)


def test_a_crop_is_a_window_of_the_image_and_of_its_mask() -> None:
    crops = Crops(size=32, scales=(1.0, 1.0), mirror=0)
    seen = set()
    for seed in range(30):
        image, mask = draw_crop(IMAGE, MASK, crops, np.random.default_rng(seed))
        first = int((IMAGE[0].unfold(0, 32, 1).unfold(1, 32, 1) == image[0]).all(-1).all(-1).sum())
        assert first >= 1
        assert torch.equal(mask, (image[0] % 7).to(torch.uint8))
        seen.add(int(image[0, 0, 0]))
    assert len(seen) > 10


def test_outside_of_the_image_is_its_mean_and_undecided() -> None:
    crops = Crops(size=64, scales=(1.0, 1.0), mirror=0)
    image, mask = draw_crop(IMAGE, MASK, crops, np.random.default_rng(0))
    outside = mask == IGNORE
    assert int((~outside).sum()) == 48 * 40
    assert [set(channel[outside].tolist()) for channel in image] == [{round(m)} for m in MEAN]


def test_half_of_the_crops_are_mirrored_and_the_mask_with_them() -> None:
    crops = Crops(size=32, scales=(1.0, 1.0), mirror=1)
    plain = Crops(size=32, scales=(1.0, 1.0), mirror=0)
    for seed in range(5):
        image, mask = draw_crop(IMAGE, MASK, crops, np.random.default_rng(seed))
        other, labels = draw_crop(IMAGE, MASK, plain, np.random.default_rng(seed))
        assert torch.equal(image, other.flip(2))
        assert torch.equal(mask, labels.flip(1))


def test_scales_are_drawn_between_or_among() -> None:
    def decided(crops: Crops) -> set[int]:
        masks = [draw_crop(IMAGE, MASK, crops, np.random.default_rng(s))[1] for s in range(40)]
        return {int((mask != IGNORE).sum()) for mask in masks}

    among = Crops(size=128, scales=(0.5, 1.0, 2.0), drawn="among")
    assert decided(among) == {24 * 20, 48 * 40, 96 * 80}
    between = decided(Crops(size=128, scales=(0.5, 2.0)))
    assert len(between) > 20
    assert 24 * 20 <= min(between) < max(between) <= 96 * 80
    short = Crops(size=80, scales=(1.0, 1.0), of="short-side")
    assert decided(short) == {80 * 80}  # 48 x 40 becomes 96 x 80


def test_a_mask_of_another_size_is_brought_to_the_image() -> None:
    large = MASK.repeat_interleave(3, dim=0).repeat_interleave(3, dim=1)
    crops = Crops(size=32, scales=(1.0, 1.0))
    first = draw_crop(IMAGE, MASK, crops, np.random.default_rng(1))
    second = draw_crop(IMAGE, large, crops, np.random.default_rng(1))
    assert torch.equal(first[1], second[1])


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    recipe = RetrainingRecipe(batch_size=3, crops=Crops(size=32))
    images = [IMAGE, IMAGE.flip(1), IMAGE.flip(2), 255 - IMAGE]
    read: list[int] = []

    def one(position: int) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(position)
        return images[position], MASK

    streams = [CropStream(one, 4, recipe, seed) for seed in (0, 0, 1)]
    first, again, other = (stream(5) for stream in streams)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, other.images)
    read.clear()
    for step in range(4):
        streams[0](step)
    assert sorted(read) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_distortion_changes_colours_and_nothing_else() -> None:
    plain = Crops(size=64, scales=(1.0, 1.0), mirror=0)
    crops = replace(plain, distortion=Distortion())
    colours = torch.randint(0, 256, (3, 48, 40), generator=torch.Generator().manual_seed(0))
    image = colours.to(torch.uint8)
    changed = 0
    for seed in range(20):
        found, mask = draw_crop(image, MASK, crops, np.random.default_rng(seed))
        other, labels = draw_crop(image, MASK, plain, np.random.default_rng(seed))
        assert torch.equal(mask, labels)
        outside = mask == IGNORE
        assert torch.equal(found[:, outside], other[:, outside])
        changed += not torch.equal(found, other)
    assert changed > 10


def test_distortion_stays_within_its_limits() -> None:
    grey = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    one = (1.0, 1.0)
    limits = Distortion(brightness=(0.8, 1.2), contrast=one, saturation=one, hue=(0.0, 0.0))
    found = [distort(grey, limits, np.random.default_rng(seed)) for seed in range(60)]
    assert all((each == each[0, 0, 0]).all() for each in found)
    drawn = {int(each[0, 0, 0]) for each in found}
    assert 100 in drawn
    assert 80 <= min(drawn) < 90 < 110 < max(drawn) <= 120
