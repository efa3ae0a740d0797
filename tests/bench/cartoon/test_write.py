from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

import bench.cartoon.write as writing
from bench.cartoon.caption import caption_words
from bench.cartoon.layout import SceneRecord, image_id
from bench.cartoon.sample import sample_scene
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import SPLIT_STARTS, ensure_voc, write_voc
from bench.errors import BenchError
from weakclip.data.formats.masks import read_mask
from weakclip.data.read.voc import VOC_CLASSES, VOCDataset

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = WorldConfig(size=64)
SPLITS = {"train": 12, "val": 4, "tune": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "cartoon"
    write_voc(folder, CONFIG, seed=6, splits=SPLITS)
    return folder


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_the_ordinary_reader_gets_back_what_was_sampled(root: Path) -> None:
    for split, count in SPLITS.items():
        dataset = VOCDataset(root, split)
        assert len(dataset) == count
        for number, labels in enumerate(dataset.image_labels()):
            scene = sample_scene(CONFIG, 6, SPLIT_STARTS[split] + number)
            sample = dataset[number]
            assert sample.image_id == image_id(split, number)
            assert sample.gt_mask is not None
            assert np.array_equal(sample.gt_mask, scene.gt_mask())
            assert np.array_equal(sample.image_labels, scene.image_labels())
            assert np.array_equal(labels, scene.image_labels())
            difference = np.abs(sample.image.astype(int) - scene.image)
            assert difference.mean() < 4  # JPEG, grey levels


def test_the_side_maps_are_exact(root: Path) -> None:
    scene = sample_scene(CONFIG, 6, SPLIT_STARTS["val"])
    side = root / "CartoonVOC"
    assert np.array_equal(read_mask(side / "StuffMap" / "val_000000.png"), scene.stuff_map)
    assert np.array_equal(read_mask(side / "PartMap" / "val_000000.png"), scene.part_map)


def test_annotations_and_object_masks_number_the_objects_alike(root: Path) -> None:
    for path in sorted((root / "Annotations").glob("*.xml")):
        objects = read_mask(root / "SegmentationObject" / f"{path.stem}.png")
        classes = read_mask(root / "SegmentationClass" / f"{path.stem}.png")
        for number, node in enumerate(ElementTree.parse(path).iterfind("object"), start=1):
            name = node.findtext("name")
            assert name in VOC_CLASSES
            ys, xs = np.nonzero(objects == number)
            assert set(np.unique(classes[ys, xs])) <= {VOC_CLASSES.index(name) + 1}
            box = {tag: int(node.findtext(f"bndbox/{tag}", "0")) for tag in ("xmin", "xmax")}
            assert 1 <= box["xmin"] <= box["xmax"] <= 64
            if len(xs):
                assert box["xmin"] <= xs.min() + 1 <= xs.max() + 1 <= box["xmax"]


def test_captions_instances_and_world_describe_every_image(root: Path) -> None:
    side = root / "CartoonVOC"
    names = {f"{split}_{n:06d}" for split, count in SPLITS.items() for n in range(count)}
    for file in ("captions.jsonl", "instances.jsonl"):
        lines = (side / file).read_text().splitlines()
        assert {json.loads(line)["image_id"] for line in lines} == names
    for line in (side / "captions.jsonl").read_text().splitlines():
        for text in json.loads(line)["captions"]:
            assert set(text.rstrip(".").split()) <= set(caption_words())
    world = json.loads((side / "world.json").read_text())
    assert world["seed"] == 6
    assert world["splits"] == SPLITS
    assert world["config"]["size"] == 64
    assert len(world["content_sha256"]) == 64


def test_splits_share_no_scene() -> None:
    starts = sorted(SPLIT_STARTS.values())
    assert min(np.diff(starts)) >= 1_000_000


def test_the_number_of_processes_changes_no_byte(root: Path, tmp_path: Path) -> None:
    write_voc(tmp_path / "two", CONFIG, seed=6, splits=SPLITS, workers=2)  # spawned, so slow
    assert contents(tmp_path / "two") == contents(root)


def test_a_split_does_not_depend_on_the_size_of_another(root: Path, tmp_path: Path) -> None:
    write_voc(tmp_path / "more", CONFIG, seed=6, splits={"val": 2, "train": 1})
    name = "JPEGImages/val_000001.jpg"
    assert (tmp_path / "more" / name).read_bytes() == (root / name).read_bytes()


def test_the_same_data_set_is_reused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_voc(tmp_path / "new", CONFIG, seed=6, splits={"val": 1})
    assert len(VOCDataset(tmp_path / "new", "val")) == 1

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(writing, "write_voc", refuse)
    ensure_voc(root, CONFIG, seed=6, splits=SPLITS)


@pytest.mark.parametrize(
    ("config", "seed", "splits", "named"),
    [
        (CONFIG, 7, SPLITS, "seed"),
        (CONFIG, 6, {"train": 12}, "splits"),
        (replace(CONFIG, blur_rate=0.0), 6, SPLITS, "config"),
    ],
)
def test_another_data_set_is_never_overwritten(
    root: Path, config: WorldConfig, seed: int, splits: dict[str, int], named: str
) -> None:
    before = contents(root)
    with pytest.raises(BenchError, match=f"{named} differ.*choose another folder"):
        ensure_voc(root, config, seed=seed, splits=splits)
    with pytest.raises(BenchError, match="not empty"):
        write_voc(root, config, seed=seed, splits=splits)
    assert contents(root) == before


@pytest.mark.parametrize("world", [None, "{", "[1, 2]"])
def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path, world: str | None) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    if world is not None:
        (tmp_path / "CartoonVOC").mkdir()
        (tmp_path / "CartoonVOC" / "world.json").write_text(world)
    with pytest.raises(BenchError, match="is no CartoonVOC"):
        ensure_voc(tmp_path, CONFIG, seed=6, splits=SPLITS)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    calls = []

    def stop_at_the_third(*arguments: object) -> SceneRecord:
        calls.append(arguments)
        if len(calls) == 3:
            raise error
        return SceneRecord("", "", "", "")

    monkeypatch.setattr(writing, "write_scene", stop_at_the_third)
    with pytest.raises(error):
        ensure_voc(tmp_path / "cartoon", CONFIG, seed=6, splits=SPLITS)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_is_not_taken_for_a_data_set(tmp_path: Path) -> None:
    left = tmp_path / f".cartoon.building-{os.getpid()}"
    (left / "JPEGImages").mkdir(parents=True)
    (left / "JPEGImages" / "train_000000.jpg").write_bytes(b"half")
    ensure_voc(tmp_path / "cartoon", CONFIG, seed=6, splits={"train": 1})
    assert not left.exists()
    assert VOCDataset(tmp_path / "cartoon", "train")[0].image.shape == (64, 64, 3)


def test_two_builders_may_race(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "cartoon"
    original = writing._write_lists

    def finish_first(folder: Path, splits: dict[str, int]) -> None:
        original(folder, splits)
        monkeypatch.setattr(writing, "_write_lists", original)
        write_voc(target, CONFIG, seed=6, splits=SPLITS)

    monkeypatch.setattr(writing, "_write_lists", finish_first)
    monkeypatch.setattr("os.getpid", iter(range(10**6)).__next__)
    write_voc(target, CONFIG, seed=6, splits=SPLITS)
    assert contents(target) == contents(root)


@pytest.mark.parametrize(
    ("splits", "seed", "message"),
    [
        ({"test": 3}, 0, "unknown split 'test'. Known: train, val, tune"),
        ({"train": 0}, 0, "expected 1 to 1000000 images, got 0"),
        ({}, 0, "at least one"),
        ({"train": 1}, -1, "expected 0 or more, got -1"),
    ],
)
def test_a_request_out_of_range_is_refused(
    tmp_path: Path, splits: dict[str, int], seed: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_voc(tmp_path / "cartoon", CONFIG, seed=seed, splits=splits)
    assert list(tmp_path.iterdir()) == []
