"""What CartoonVOC knows of pixels, and how they are counted by it, image by image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from bench.cartoon.layout import annotated_objects
from bench.cartoon.sample import sample_scene
from bench.cartoon.vocabulary import PARTS, STUFF
from bench.cartoon.world import WorldConfig
from bench.cartoon.write import SPLIT_STARTS, write_voc
from bench.tasks.counts import KeptCounts
from bench.tasks.known import SEED_GROUPS, KnownPixels, SeedView
from weakclip.data.read.voc import list_voc
from weakclip.ops.cells import contour_bands
from weakclip.ops.confusion import boundary_counts, boundary_width, class_counts, confusion_matrix
from weakclip.stages.images import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from weakclip.data.read.tagged import TaggedFiles

IMAGES, K, SIDE = 6, 21, 64
CONFIG = WorldConfig(size=SIDE)
OBJECTS = "occlusion | objects"


class HalfSizeSeeds:
    """Seeds of the even images, at half the size of their masks."""

    key = "seeds"
    indices = (0, 2, 4)

    def __init__(self, files: TaggedFiles) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int, /) -> Tensor:
        mask = truth(self._files, self.indices[position])[::2, ::2]
        return torch.where(mask == 0, 255, mask.clamp(max=20))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TaggedFiles:
    root = tmp_path_factory.mktemp("data") / "cartoon"
    write_voc(root, CONFIG, seed=6, splits={"train": IMAGES})
    return list_voc(root, "train")


def truth(files: TaggedFiles, index: int) -> Tensor:
    mask = files.gt_mask(index)
    assert mask is not None
    return torch.from_numpy(mask).long()


def grouped(files: TaggedFiles, indices: Sequence[int]) -> dict[str, Tensor]:
    """Every view of some images, (B, H, W) each."""
    pixels, seeds = KnownPixels(files, Memory()), SeedView(HalfSizeSeeds(files), range(IMAGES))
    found = {
        view: torch.stack([pixels.groups(index, view, pixels.mask(index)) for index in indices])
        for view in pixels.views
    }
    each = [seeds.groups(index, pixels.mask(index)) for index in indices]
    return {**found, "seed": torch.stack(each)}


def test_pixels_are_grouped_by_what_was_drawn(files: TaggedFiles) -> None:
    pixels = KnownPixels(files, Memory())
    gt = torch.stack([truth(files, index) for index in range(IMAGES)])
    groups = {name: each.numpy() for name, each in grouped(files, range(IMAGES)).items()}
    assert [*pixels.views, "seed"] == list(groups)
    for index in range(IMAGES):
        scene = sample_scene(CONFIG, 6, SPLIT_STARTS["train"] + index)
        objects = annotated_objects(scene)
        hidden = {one.instance_id: one.occluded for one in objects}
        number = ("no object", "1 object", "2 objects", "3 or more objects")[min(len(objects), 3)]
        for row, column in np.ndindex(SIDE, SIDE):
            place = (row, column)
            part, stuff = scene.part_map[place], scene.stuff_map[place]
            shown = f"part: {PARTS[part - 1]}" if part else f"stuff: {STUFF[stuff - 1]}"
            assert pixels.views["shows"][groups["shows"][index][place]] == shown
            state, images = pixels.views[OBJECTS][groups[OBJECTS][index][place]].split(" | ")
            assert images == f"images of {number}"
            if state:
                wanted = "occluded" if hidden[int(scene.instance_map[place])] else "whole"
                assert state == f"{wanted} objects"
            elif gt[index][place] not in (0, 255):
                near = scene.instance_map[
                    max(0, row - 1) : row + 2, max(0, column - 1) : column + 2
                ]
                assert len(np.unique(near)) > 1  # void between two objects of a class


def test_seeds_are_right_wrong_or_undecided(files: TaggedFiles) -> None:
    gt = torch.stack([truth(files, index) for index in range(2)])
    found = grouped(files, (0, 1))["seed"]
    seeds = HalfSizeSeeds(files)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    expected = torch.where(seeds == 255, 2, (seeds != gt[0]).long())
    assert (found[0] == expected).all()
    assert {SEED_GROUPS[group] for group in found[1].flatten().tolist()} == {"seed is undecided"}


def test_what_is_known_is_read_once(files: TaggedFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    first = KnownPixels(files, memory)
    expected = {view: first.groups(0, view, first.mask(0)) for view in first.views}
    monkeypatch.setattr("weakclip.data.read.tagged.TaggedFiles.gt_mask", None)
    monkeypatch.setattr("bench.cartoon.known.read_mask", None)
    again = KnownPixels(files, memory)
    assert all(again.groups(0, view, again.mask(0)) is each for view, each in expected.items())


def predicted(gt: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, K, gt.shape, generator=generator)
    mask = torch.where(torch.rand(gt.shape, generator=generator) < 0.2, noise, gt.roll(2, 0))
    return torch.where(torch.rand(gt.shape, generator=generator) < 0.02, 255, mask)


def test_counts_are_kept_by_image_and_view(files: TaggedFiles, tmp_path: Path) -> None:
    path, groups = tmp_path / "counts.bin", grouped(files, range(IMAGES))
    views = {**KnownPixels(files, Memory()).views, "seed": SEED_GROUPS}
    gt = torch.stack([truth(files, index) for index in range(IMAGES)])
    pred = torch.stack([predicted(gt[index], index) for index in range(IMAGES)])
    first = KeptCounts(path, IMAGES, K, views)
    for indices in ((4, 1), (0,)):
        chosen = list(indices)
        some = {view: each[chosen] for view, each in groups.items()}
        first.add(indices, pred[chosen], gt[chosen], some)
    with path.open("ab") as file:
        file.write(b"a row that was cut")
    kept = KeptCounts(path, IMAGES, K, views)
    assert kept.missing == [2, 3, 5]
    rest = kept.missing
    kept.add(rest, pred[rest], gt[rest], {view: each[rest] for view, each in groups.items()})
    kept = KeptCounts(path, IMAGES, K, views)
    assert (kept.counts() == class_counts(pred, gt, K).numpy()).all()
    assert (kept.confusion() == confusion_matrix(pred, gt, K).numpy()).all()
    near = boundary_counts(pred, gt, K, width=boundary_width(SIDE, SIDE))
    assert (kept.boundary() == near.numpy()).all()
    assert (groups["contour"] == contour_bands(gt.to(torch.uint8), (3, 5, 9))).all()
    assert list(kept.views) == list(groups)
    for view, places in groups.items():
        expected: Counter[tuple[int, ...]] = Counter()
        for place in (gt != 255).nonzero().tolist():
            image, row, column = place
            cell = (int(gt[image, row, column]), min(int(pred[image, row, column]), K))
            expected[(image, int(places[image, row, column]), *cell)] += 1
        cells = kept.cells(view)
        assert {tuple(cell[:4]): cell[4] for cell in cells.tolist()} == expected, view
        assert len(cells) == len(expected)


def test_a_mask_that_was_changed_is_read_again(tmp_path: Path) -> None:
    write_voc(tmp_path, CONFIG, seed=6, splits={"train": 2})
    files, memory = list_voc(tmp_path, "train"), Memory()
    first = KnownPixels(files, memory).mask(0)
    path, other = files.masks
    assert path is not None
    assert other is not None
    path.write_bytes(other.read_bytes())
    found = KnownPixels(files, memory).mask(0)
    assert not torch.equal(found, first)
    assert torch.equal(found, KnownPixels(files, Memory()).mask(1))
