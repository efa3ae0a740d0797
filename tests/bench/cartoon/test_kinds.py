from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from bench.cartoon.kinds import CLASS_COUNT, KINDS, Kind
from bench.cartoon.pretraining.web import sample_web, sample_web_tile
from bench.cartoon.sample import sample_scene
from bench.cartoon.styles import EVALUATION, PRETRAINING, STRONG, Style, style_of
from bench.cartoon.vocabulary import DISPLAY_NAMES, PART_IDS, PLURALS
from bench.cartoon.world import Scene, WorldConfig

SMALL = WorldConfig(size=64)


def fingerprint(scene: Scene) -> str:
    maps = (scene.image, scene.class_map, scene.instance_map, scene.stuff_map, scene.part_map)
    return sha256(b"".join(a.tobytes() for a in maps)).hexdigest()


def test_a_scene_depends_on_config_seed_and_index_alone() -> None:
    for draw in (sample_scene, sample_web, sample_web_tile):
        first = draw(SMALL, 1, 2)
        draw(SMALL, 1, 7)
        assert fingerprint(draw(SMALL, 1, 2)) == fingerprint(first)
        assert fingerprint(draw(SMALL, 1, 3)) != fingerprint(first)
        assert fingerprint(draw(SMALL, 2, 2)) != fingerprint(first)


def test_the_first_twenty_of_at_least_sixty_kinds_are_the_classes_and_all_are_different() -> None:
    assert len(KINDS) >= 60
    assert tuple(kind.name for kind in KINDS[:CLASS_COUNT]) == DISPLAY_NAMES
    assert tuple(kind.plural for kind in KINDS[:CLASS_COUNT]) == PLURALS
    names = [name for kind in KINDS for name in (kind.name, *kind.synonyms, *kind.rare)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_parts_of_every_kind_are_known_and_stay_near_the_frame(kind: Kind) -> None:
    for seed in range(8):
        parts = kind.draw(np.random.default_rng(seed))
        assert {part.name for part in parts} <= PART_IDS.keys()
        corners = np.concatenate([part.outline for part in parts])
        assert np.abs(corners).max() < 1.35
        assert np.ptp(corners, axis=0).min() > 0.4


def test_no_style_is_shared_between_the_sets() -> None:
    assert not set(PRETRAINING) & set(EVALUATION)
    assert not set(STRONG) & {*EVALUATION, *PRETRAINING}


@pytest.mark.parametrize(
    ("distance", "sets"),
    [(0.0, PRETRAINING), (0.5, PRETRAINING + EVALUATION), (1.0, EVALUATION), (2.0, STRONG)],
)
def test_the_distance_chooses_the_styles(distance: float, sets: tuple[Style, ...]) -> None:
    drawn = {style_of(np.random.default_rng(i), distance) for i in range(300)}
    assert drawn == set(sets)


def test_pretraining_draws_its_own_styles_whatever_the_dial_says() -> None:
    for index in range(4):
        near, far = (sample_web(replace(SMALL, style_distance=d), 1, index) for d in (0.0, 2.0))
        assert fingerprint(near) == fingerprint(far)


def test_the_style_changes_the_picture_and_not_what_is_in_it() -> None:
    plain, strong = (sample_scene(replace(SMALL, style_distance=d), 1, 5) for d in (0.0, 2.0))
    assert (plain.image != strong.image).any()
    assert plain.place == strong.place
    assert len(plain.instances) == len(strong.instances)


def test_unnamed_things_are_background_without_an_instance() -> None:
    crowded = replace(SMALL, unnamed_objects=3.0)
    unnamed = 0
    for index in range(12):
        scene = sample_scene(crowded, 1, index)
        unnamed += sum(thing.kind >= CLASS_COUNT for thing in scene.things)
        assert all(one.class_index < CLASS_COUNT for one in scene.instances)
        assert [one.instance_id for one in scene.instances] == list(
            range(1, len(scene.instances) + 1)
        )
        np.testing.assert_array_equal(scene.class_map > 0, scene.instance_map > 0)
        either = (scene.stuff_map > 0) ^ (scene.part_map > 0)
        assert either.all()
    assert unnamed > 10
    alone = replace(SMALL, unnamed_objects=0.0)
    for index in range(12):
        assert all(thing.kind < CLASS_COUNT for thing in sample_scene(alone, 1, index).things)


def test_the_size_of_objects_follows_its_dial() -> None:
    def foreground(size: float) -> float:
        config = replace(SMALL, object_size=size)
        return float(
            np.mean([(sample_scene(config, 1, i).class_map > 0).mean() for i in range(30)])
        )

    assert foreground(0.5) < 0.45 * foreground(1.0)


def test_objects_and_classes_are_as_many_as_in_voc() -> None:
    scenes = [sample_scene(SMALL, 2012, index) for index in range(400)]
    objects = np.mean([len(scene.instances) for scene in scenes])
    classes = np.mean([scene.image_labels().sum() for scene in scenes])
    assert 2.1 < objects < 2.6  # VOC 2012: 6,929 objects in 2,913 images
    assert 1.35 < classes < 1.55
    person = np.mean([scene.image_labels()[14] for scene in scenes])
    assert 0.22 < person < 0.4  # 888 of 2,913


def test_asked_classes_lead_and_the_rest_is_drawn() -> None:
    scene = sample_scene(SMALL, 3, 4, classes=(7,), objects=1, occluders=False)
    assert [one.class_index for one in scene.instances] == [7]


@pytest.mark.parametrize(
    "change",
    [{"style_distance": 2.5}, {"object_size": 0.0}, {"unnamed_objects": -1.0}, {"size": 16}],
)
def test_a_dial_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))}: expected"):
        replace(SMALL, **change)


def test_a_tile_measures_what_it_shows() -> None:
    for index in range(20):
        tile = sample_web_tile(SMALL, 1, index, size=48)
        assert tile.image.shape == (48, 48, 3)
        assert all(0.03 <= thing.area <= 1 for thing in tile.things)


def test_untrained_classes_are_missing_in_scenes_to_train_on_and_nowhere_else() -> None:
    config = replace(SMALL, untrained=(14, 7))
    trained = [sample_scene(config, 1, index, train=True) for index in range(60)]
    assert not any(one.class_index in (14, 7) for scene in trained for one in scene.instances)
    other = [sample_scene(config, 1, index) for index in range(60)]
    assert any(one.class_index == 14 for scene in other for one in scene.instances)
    assert fingerprint(sample_scene(config, 1, 3)) == fingerprint(sample_scene(SMALL, 1, 3))
    with pytest.raises(ValueError, match="untrained: expected"):
        replace(SMALL, untrained=tuple(range(20)))
