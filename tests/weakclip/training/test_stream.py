from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weakclip.clip.load import load_clip
from weakclip.config import MICRO
from weakclip.crf.dense import WEAKCLIP_TRAIN, build_lattices
from weakclip.training.execution import Execution
from weakclip.training.stream import ViewSpec, ViewStream, centre_view, view_rows
from weakclip.training.views import Framing

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.clip.bundle import CLIPBundle

SPEC = ViewSpec(
    framing=Framing(size=64), views=4, grid=16, crf=WEAKCLIP_TRAIN, batch_size=3, seed=5
)
reads: list[int] = []


@pytest.fixture
def clip() -> CLIPBundle:
    return load_clip("random-micro")


def read(position: int) -> tuple[Tensor, Tensor]:
    reads.append(position)
    generator = torch.Generator().manual_seed(position)
    size = (64, 64 + 16 * position)
    image = torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8)
    return image, torch.randint(0, 3, size, generator=generator)


def stream(clip: CLIPBundle, *, budget: int, spec: ViewSpec = SPEC) -> ViewStream:
    tower = clip.image.configured(taps=MICRO.taps)
    return ViewStream(read, 5, spec, clip, tower, budget=budget)


def test_what_a_step_sees_does_not_depend_on_the_budget(clip: CLIPBundle) -> None:
    kept, some, none = (stream(clip, budget=budget) for budget in (1 << 30, 200_000, 0))
    for step in (0, 1, 2, 7, 1):
        batches = [source(step) for source in (kept, some, none)]
        for batch in batches[1:]:
            assert torch.equal(batch.seeds, batches[0].seeds)
            assert torch.equal(batch.grid_images, batches[0].grid_images)
            for ours, theirs in zip(batch.features.taps, batches[0].features.taps, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_what_is_kept_is_not_read_again(clip: CLIPBundle) -> None:
    kept, none = stream(clip, budget=1 << 30), stream(clip, budget=0)
    for source, expected in ((kept, 0), (none, 3)):
        source(0)
        reads.clear()
        source(0)
        assert len(reads) == expected


def test_a_batch_is_what_training_needs(clip: CLIPBundle) -> None:
    batch = stream(clip, budget=0)(3)
    assert batch.seeds.shape == (3, 64, 64)
    assert batch.seeds.dtype == torch.int64
    assert batch.grid_images.shape == (3, 3, 16, 16)
    assert batch.lattices is not None
    assert len(batch.lattices) == 3
    assert len(build_lattices(batch.grid_images, WEAKCLIP_TRAIN)) == 3
    assert batch.features.taps[0].shape == (3, clip.image.width, 4, 4)
    assert stream(clip, budget=0, spec=replace(SPEC, crf=None))(3).lattices is None


def test_statistics_are_taken_of_whole_images(clip: CLIPBundle) -> None:
    reads.clear()
    parts = list(stream(clip, budget=0).plain_features())
    assert sorted(reads) == [0, 1, 2, 3, 4]
    assert sum(len(part.global_embedding) for part in parts) == 5


def test_the_first_two_views_are_the_whole_and_its_mirror(clip: CLIPBundle) -> None:
    source = stream(clip, budget=0)
    (plain, seeds), (mirrored, mirrored_seeds) = source._frame(0), source._frame(1)
    image, labels = read(0)
    assert torch.equal(plain, image)
    assert torch.equal(seeds, labels)
    assert torch.equal(mirrored, image.flip(2))
    assert torch.equal(mirrored_seeds, labels.flip(1))


def test_the_centre_of_a_wide_image_is_cut_out() -> None:
    image = torch.arange(12, dtype=torch.uint8).expand(3, 4, 12)
    view, labels = centre_view(image, image[0].long(), 4)
    assert view[0, 0].tolist() == [4, 5, 6, 7]
    assert labels[0].tolist() == [4, 5, 6, 7]
    assert centre_view(image, image[0].long(), 8)[0].shape == (3, 8, 8)


def test_every_image_comes_once_an_epoch() -> None:
    rows = [row for step in range(6) for row in view_rows(9, 4, 6, 3, step)]
    assert sorted(row // 4 for row in rows) == sorted(list(range(9)) * 4)
    assert len(np.unique([row % 4 for row in rows])) == 4


def test_the_frozen_tower_follows_the_precision(clip: CLIPBundle) -> None:
    half = replace(SPEC, execution=Execution(precision="bfloat16"))
    single, other = stream(clip, budget=0)(0), stream(clip, budget=0, spec=half)(0)
    for ours, theirs in zip(other.features.taps, single.features.taps, strict=True):
        assert ours.dtype == torch.float32
        assert not torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0.05)
    assert torch.equal(single.grid_images, other.grid_images)
