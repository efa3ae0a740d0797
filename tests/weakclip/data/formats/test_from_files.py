"""Maps of a folder are those of the images, or it is said what is wrong before a run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weakclip.data.formats.from_files import FromFiles
from weakclip.data.formats.ids import read_tag_file
from weakclip.data.formats.masks import read_mask
from weakclip.data.formats.write_maps import write_maps

if TYPE_CHECKING:
    from torch import Tensor

TOY = Path(__file__).parents[3] / "data" / "interop" / "toy"
NAMES = ("2007_000001", "2007_000002", "2007_000003")
SIZES = tuple(read_mask(TOY / "gt" / f"{name}.png").shape for name in NAMES)


@pytest.fixture
def tags() -> Tensor:
    """(3, 20), bool."""
    read = read_tag_file(TOY / "cls_labels.npy")
    return torch.from_numpy(np.stack([read[name] for name in NAMES]))


@pytest.fixture
def source(tmp_path: Path) -> FromFiles:
    shutil.copytree(TOY / "cam_seam", tmp_path / "maps")
    return FromFiles(folder=tmp_path / "maps")


def change(source: FromFiles, name: str, content: object) -> None:
    np.save(source.folder / f"{name}.npy", content)  # type: ignore[arg-type]


def kinds(source: FromFiles, tags: Tensor, names: tuple[str, ...] = NAMES) -> dict[str, list[str]]:
    findings = source.check([f"{name}.jpg" for name in names], tags, SIZES)
    return {finding.kind.name: list(finding.affected) for finding in findings}


def test_good_maps_have_no_findings(source: FromFiles, tags: Tensor) -> None:
    assert source.check(NAMES, tags, SIZES) == []


@pytest.mark.parametrize("layout", ["cam_irn", "cam_seam", "cam_clipes"])
def test_maps_are_in_the_place_of_their_class(layout: str, tags: Tensor) -> None:
    trusted = np.load(TOY / "cam_seam" / "2007_000001.npy", allow_pickle=True).item()
    cams = FromFiles(folder=TOY / layout).read("2007_000001.jpg", tags[0], SIZES[0])
    assert cams.shape == (20, *SIZES[0])
    assert cams.dtype == torch.float32
    assert torch.allclose(cams[7], torch.from_numpy(trusted[7]), atol=1e-3)
    assert cams.flatten(1).any(dim=1).nonzero()[:, 0].tolist() == [7, 14]


def test_the_coarse_grid_is_a_choice(tags: Tensor) -> None:
    source = FromFiles(folder=TOY / "cam_irn", grid="coarse")
    assert source.read(NAMES[0], tags[0], SIZES[0]).shape == (20, 6, 8)
    assert source.check(NAMES, tags, SIZES) == []


def test_a_class_the_image_is_not_tagged_with_is_found_and_not_read(
    source: FromFiles, tags: Tensor
) -> None:
    tags[1] = False
    tags[1, 3] = True
    assert kinds(source, tags) == {
        "maps-untagged-class": ["2007_000002.jpg: label 15"],
        "maps-class-missing": ["2007_000002.jpg: label 4"],
    }
    assert not source.read(NAMES[1], tags[1], SIZES[1]).any()


def test_nan_is_found_and_not_read(source: FromFiles, tags: Tensor) -> None:
    change(source, NAMES[1], {14: np.full(SIZES[1], np.nan, np.float32)})
    assert kinds(source, tags) == {"maps-not-finite": ["2007_000002.jpg: label 15"]}
    with pytest.raises(ValueError, match=r"2007_000002\.npy: maps with NaN"):
        source.read(NAMES[1], tags[1], SIZES[1])


def test_values_out_of_range_are_found_and_can_be_scaled(source: FromFiles, tags: Tensor) -> None:
    values = np.linspace(-2, 4, 600, dtype=np.float32).reshape(SIZES[1])
    change(source, NAMES[1], {14: values})
    assert kinds(source, tags) == {"maps-range": ["2007_000002.jpg: label 15 has -2 to 4"]}
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        source.read(NAMES[1], tags[1], SIZES[1])
    scaled = replace(source, scale="max")
    assert scaled.check(NAMES, tags, SIZES) == []
    expected = torch.from_numpy(values).clamp(min=0) / 4
    assert torch.equal(scaled.read(NAMES[1], tags[1], SIZES[1])[14], expected)


def test_a_map_without_evidence_is_scaled_to_nothing(source: FromFiles, tags: Tensor) -> None:
    change(source, NAMES[1], {14: np.full(SIZES[1], -1.0, np.float32)})
    assert not replace(source, scale="max").read(NAMES[1], tags[1], SIZES[1]).any()


def test_values_a_little_outside_are_rounding(source: FromFiles, tags: Tensor) -> None:
    change(source, NAMES[1], {14: np.full(SIZES[1], -1e-5, np.float32)})
    assert source.check(NAMES, tags, SIZES) == []
    assert not source.read(NAMES[1], tags[1], SIZES[1]).any()


def test_maps_of_another_images_size_are_found(source: FromFiles, tags: Tensor) -> None:
    shutil.copy(source.folder / f"{NAMES[0]}.npy", source.folder / f"{NAMES[1]}.npy")
    found = kinds(source, tags)
    assert found["maps-size"] == ["2007_000002.jpg: maps (24, 32), image (20, 30)"]
    with pytest.raises(ValueError, match="another image's size"):
        source.read(NAMES[1], tags[1], SIZES[1])


def test_missing_and_surplus_files_are_found(source: FromFiles, tags: Tensor) -> None:
    (source.folder / f"{NAMES[1]}.npy").rename(source.folder / "2007_000009.npy")
    assert kinds(source, tags) == {
        "maps-missing": ["2007_000002.jpg"],
        "maps-surplus": ["2007_000009"],
    }
    with pytest.raises(FileNotFoundError, match="no maps of 2007_000002"):
        source.read(NAMES[1], tags[1], SIZES[1])


def test_an_image_without_tags_needs_no_file(source: FromFiles, tags: Tensor) -> None:
    (source.folder / f"{NAMES[1]}.npy").unlink()
    tags[1] = False
    assert source.check(NAMES, tags, SIZES) == []
    cams = source.read(NAMES[1], tags[1], SIZES[1])
    assert cams.shape[0] == 20
    assert not cams.any()


def test_unreadable_files_are_found(source: FromFiles, tags: Tensor) -> None:
    (source.folder / f"{NAMES[0]}.npy").write_bytes(b"damaged")
    shutil.copy(TOY.parent / "refuse_global.npy", source.folder / f"{NAMES[1]}.npy")
    (reasons,) = kinds(source, tags).values()
    assert "damaged file" in reasons[0]
    assert "names posix.getcwd" in reasons[1]


def test_labels_beyond_the_classes_are_found(source: FromFiles, tags: Tensor) -> None:
    found = kinds(source, tags[:, :10])
    assert found["maps-labels"][0] == "2007_000001.jpg: label 15 of 1 to 10"


def test_a_file_that_two_images_would_share_is_found(source: FromFiles, tags: Tensor) -> None:
    found = source.check(["a/2007_000001", "b/2007_000001", "2007_000003"], tags, SIZES)
    assert found[0].kind.name == "maps-ambiguous"
    assert "also that of a/2007_000001" in found[0].affected[0]


def test_cocos_own_ids_are_translated(tmp_path: Path) -> None:
    tags = torch.zeros(1, 80, dtype=torch.bool)
    tags[0, 79] = True  # toothbrush, category 90
    np.save(tmp_path / "9.npy", {89: np.ones((3, 4), np.float32)})  # type: ignore[arg-type]
    name = "COCO_train2014_000000000009.jpg"
    contiguous = FromFiles(folder=tmp_path)
    assert contiguous.check([name], tags, [(3, 4)])[0].kind.name == "maps-labels"
    original = FromFiles(folder=tmp_path, numbering="original")
    assert original.check([name], tags, [(3, 4)]) == []
    assert original.read(name, tags[0], (3, 4))[79].all()


def test_a_folder_decides_for_files_that_can_be_read_in_two_ways(tmp_path: Path) -> None:
    """A map of class 0 alone is an aeroplane where another file has no 0."""
    tags = torch.zeros(2, 20, dtype=torch.bool)
    tags[0, 0] = tags[1, 5] = True
    for name, key in (("a", 0), ("b", 5)):
        np.save(tmp_path / f"{name}.npy", {key: np.ones((3, 4), np.float32)})  # type: ignore[arg-type]
    source = FromFiles(folder=tmp_path)
    assert source.check(["a", "b"], tags, [(3, 4)] * 2) == []
    (tmp_path / "b.npy").unlink()
    (finding, _) = source.check(["a", "b"], tags, [(3, 4)] * 2)
    assert finding.kind.name == "maps-missing"
    with pytest.raises(ValueError, match="name the format"):
        source.read("a", tags[0], (3, 4))


def test_our_own_files_are_read_and_their_size_is_checked(tmp_path: Path, tags: Tensor) -> None:
    cams = torch.rand(20, 2, 3)
    write_maps(tmp_path / f"{NAMES[0]}.npz", cams, tags[0], SIZES[0])
    read = FromFiles(folder=tmp_path).read(NAMES[0], tags[0], SIZES[0])
    assert torch.equal(read[tags[0]], cams[tags[0]].half().float())
    with pytest.raises(ValueError, match="another image's size"):
        FromFiles(folder=tmp_path).read(NAMES[0], tags[0], SIZES[1])


def test_unknown_formats_and_folders_are_named(tmp_path: Path, tags: Tensor) -> None:
    with pytest.raises(ValueError, match="did you mean 'irn'"):
        FromFiles(folder=tmp_path, format="inr")
    with pytest.raises(FileNotFoundError, match="no such folder of maps"):
        FromFiles(folder=tmp_path / "nowhere").check(NAMES, tags, SIZES)


def test_pictures_beside_the_maps_are_no_maps(source: FromFiles, tags: Tensor) -> None:
    for name in NAMES:
        shutil.copy(TOY / "gt" / f"{name}.png", source.folder / f"{name}.png")
    assert source.check(NAMES, tags, SIZES) == []
