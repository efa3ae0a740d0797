from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.clip.load import load_clip
from weakclip.convnet.random_walk import (
    MICRO,
    RandomWalk,
    affinities,
    affinity_loss,
    sure_labels,
)
from weakclip.crf.dense import CRFConfig
from weakclip.labels import IGNORE
from weakclip.ops.walk import disc_offsets
from weakclip.stages.protocols import ImageStack, Setting
from weakclip.stages.refine import Constant, Power, with_background
from weakclip.training.descent import Descent
from weakclip.training.views import Framing

OFFSETS = disc_offsets(3)
SETTING = Setting(
    clip=load_clip("random-micro"),
    class_names=("square", "other"),
    background_words=(),
    device=torch.device("cpu"),
)
NO_CRF = CRFConfig(terms=(), iterations=0)
TINY = replace(
    MICRO,
    backbone=replace(MICRO.backbone, weights=None, channels=(8, 16, 16, 16)),
    widths=(8, 8, 8),
    crf=NO_CRF,
    radius=3,
    recipe=Descent(epochs=20, batch_size=4, learning_rate=0.1, head_factor=1),
    framing=Framing(size=64, ratio=(1, 1)),
    steps=32,
)


def loss_by_hand(field: torch.Tensor, labels: torch.Tensor) -> float:
    """Pair by pair, in Python."""
    costs: dict[str, list[float]] = {"background": [], "class": [], "different": []}
    _, _, height, width = field.shape
    for y in range(height):
        for x in range(width):
            for dy, dx in OFFSETS:
                if not (0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                first, second = int(labels[0, y, x]), int(labels[0, y + dy, x + dx])
                if IGNORE in (first, second):
                    continue
                distance = (field[0, :, y, x] - field[0, :, y + dy, x + dx]).abs().mean()
                affinity = torch.exp(-distance)
                if first != second:
                    costs["different"].append(float(-torch.log(1 + 1e-5 - affinity)))
                else:
                    kind = "class" if first else "background"
                    costs[kind].append(float(-torch.log(affinity + 1e-5)))
    weights = {"background": 0.25, "class": 0.25, "different": 0.5}
    return sum(weights[kind] * sum(c) / (len(c) + 1e-5) for kind, c in costs.items())


def test_the_loss_is_that_of_all_sure_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(1, 4, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2, IGNORE])[torch.randint(0, 5, (1, 4, 5), generator=generator)]
    expected = loss_by_hand(field, labels)
    assert expected > 0.1
    assert float(affinity_loss(field, labels, OFFSETS)) == pytest.approx(expected, rel=1e-6)


def test_labels_that_are_all_unsure_say_nothing() -> None:
    field = torch.randn(1, 4, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.full((1, 4, 5), IGNORE)
    assert float(affinity_loss(field, labels, OFFSETS)) == 0


def test_affinities_are_one_for_equal_features_and_fall_with_distance() -> None:
    field = torch.zeros(1, 2, 3, 4)
    field[..., 2:] = 3.0
    (values,) = affinities(field, [(0, 1)])
    assert torch.allclose(
        values[0, 0], torch.tensor([1.0, float(torch.exp(torch.tensor(-3.0))), 1])
    )


def test_a_pixel_is_sure_where_strong_and_weak_background_agree() -> None:
    cams = torch.tensor([[[0.05, 0.2, 0.9]], [[0.0, 0.0, 0.0]]])
    config = RandomWalk(
        crf=NO_CRF, sure_foreground=Constant(value=0.5), sure_background=Constant(value=0.1)
    )
    image = torch.zeros(3, 1, 3, dtype=torch.uint8)
    labels = sure_labels(image, torch.tensor([True, False]), cams, config)
    assert labels.tolist() == [[0, IGNORE, 1]]


def squares(count: int) -> tuple[ImageStack, torch.Tensor, torch.Tensor]:
    """A red square on a green ground, tagged; its mask; and a map of the square's middle."""
    generator = torch.Generator().manual_seed(3)
    images = torch.zeros(count, 3, 64, 64, dtype=torch.uint8)
    images[:, 1] = 160
    masks = torch.zeros(count, 64, 64, dtype=torch.bool)
    cams = torch.zeros(count, 2, 8, 8)
    for row in range(count):
        top, left = (8 * torch.randint(0, 4, (2,), generator=generator)).tolist()
        masks[row, top : top + 32, left : left + 32] = True
        cams[row, 0, top // 8 : top // 8 + 4, left // 8 : left // 8 + 4] = 0.25
        cams[row, 0, top // 8 + 1 : top // 8 + 3, left // 8 + 1 : left // 8 + 3] = 1.0
    images[:, 0][masks], images[:, 1][masks] = 220, 20
    noise = torch.randint(0, 20, images.shape, generator=generator, dtype=torch.uint8)
    tags = torch.tensor([[True, False]]).expand(count, -1)
    return ImageStack(images + noise, tags), masks, cams


def test_scores_fill_the_object_and_stop_at_its_border() -> None:
    data, masks, cams = squares(12)
    config = replace(
        TINY,
        sure_foreground=Constant(value=0.5),
        sure_background=Constant(value=0.05),
        background=Constant(value=0.3),
    )
    walk = config.build(SETTING)
    walk.fit(data, list(cams), seed=0, report=lambda _done, _total: None)
    scores = walk.scores(data.images, data.image_labels, cams)
    found = scores.argmax(dim=1) == 1
    before = with_background(cams, (64, 64), config.background).argmax(dim=1) == 1

    def iou(mask: torch.Tensor) -> float:
        return float((mask & masks).sum() / (mask | masks).sum())

    assert iou(before) < 0.5
    assert iou(found) > 0.6  # a border of half a cell is lost to the grid


def test_the_walk_starts_from_maps_with_a_background_brought_to_the_grid() -> None:
    data, _, cams = squares(2)
    config = replace(TINY, steps=0, background=Power(alpha=2))
    scores = config.build(SETTING).scores(data.images, data.image_labels, cams)
    start = with_background(cams, (64, 64), Power(alpha=2))
    coarse = F.interpolate(F.adaptive_avg_pool2d(start, (8, 8)), (64, 64), mode="bilinear")
    assert torch.allclose(scores, coarse, atol=1e-6)
