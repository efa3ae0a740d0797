from __future__ import annotations

import numpy as np

from bench.cartoon.tile import sample_tile
from bench.cartoon.world import WorldConfig

CONFIG = WorldConfig()


def test_a_tile_depends_on_seed_and_index_alone() -> None:
    first = sample_tile(CONFIG, 1, 2)
    sample_tile(CONFIG, 1, 3)
    again = sample_tile(WorldConfig(size=224), 1, 2)
    assert np.array_equal(first.image, again.image)
    assert first.instances == again.instances
    assert not np.array_equal(first.image, sample_tile(CONFIG, 2, 2).image)


def test_tiles_have_the_size_asked_for() -> None:
    assert sample_tile(CONFIG, 0, 0).image.shape == (64, 64, 3)
    assert sample_tile(CONFIG, 0, 0, size=48).image.shape == (48, 48, 3)


def test_one_tile_in_eight_shows_scenery_only_and_all_classes_are_alike_frequent() -> None:
    tiles = [sample_tile(CONFIG, 0, i, size=32) for i in range(300)]
    empty = np.mean([not tile.image_labels().any() for tile in tiles])
    counts = np.sum([tile.image_labels() for tile in tiles], axis=0)
    assert 0.07 < empty < 0.18
    assert counts.min() > 4


def test_labels_belong_to_objects_in_the_frame() -> None:
    for index in range(40):
        tile = sample_tile(CONFIG, 4, index)
        inside = {one.class_index for one in tile.instances}
        assert set(np.flatnonzero(tile.image_labels())) <= inside
        assert tile.stuff
        for one in tile.instances:
            assert 0 <= one.centre[0] <= 1
            assert 0 <= one.centre[1] <= 1
