from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.data.formats.masks import (
    VOC_PALETTE,
    read_mask,
    void_border,
    with_void_border,
    write_mask,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    values = np.array([0, 1, 15, 20, 255], dtype=np.uint8)
    return np.random.default_rng(0).choice(values, (17, 23))


def test_the_palette_is_vocs() -> None:
    # The devkit's colours of background, aeroplane, bicycle, person, tvmonitor, void.
    assert VOC_PALETTE[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]
    assert len({tuple(colour) for colour in VOC_PALETTE.tolist()}) == 256


def test_a_mask_is_read_as_it_was_written(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    write_mask(tmp_path / "a.png", mask)
    assert np.array_equal(read_mask(tmp_path / "a.png"), mask)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_file_is_a_palette_png_that_looks_like_vocs(
    tmp_path: Path, mask: NDArray[np.uint8]
) -> None:
    write_mask(tmp_path / "a.png", mask)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image.convert("RGB")), VOC_PALETTE[mask])


def test_grey_masks_are_read_as_labels(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(mask).save(tmp_path / "grey.png")
    assert np.array_equal(read_mask(tmp_path / "grey.png"), mask)


def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, mask: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "a.png", mask)

    def disk_full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", disk_full)
    with pytest.raises(OSError, match="no space"):
        write_mask(tmp_path / "a.png", mask * 0)
    assert np.array_equal(read_mask(tmp_path / "a.png"), mask)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4, 3), np.uint8), ((4, 4), np.int64)])
def test_only_two_dimensional_bytes_are_written(
    tmp_path: Path, shape: tuple[int, ...], dtype: type
) -> None:
    with pytest.raises(ValueError, match=r"expected a \(H, W\) uint8 mask"):
        write_mask(tmp_path / "a.png", np.zeros(shape, dtype=dtype))


def test_a_colour_picture_of_a_mask_is_refused(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(VOC_PALETTE[mask]).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"rgb\.png: expected label indices .* got mode RGB"):
        read_mask(tmp_path / "rgb.png")


@pytest.mark.parametrize("kept", [0, 20, 60, 0.5, 0.9])
def test_a_truncated_mask_is_refused(tmp_path: Path, mask: NDArray[np.uint8], kept: float) -> None:
    path = tmp_path / "a.png"
    write_mask(path, mask)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"a\.png: damaged mask"):
        read_mask(path)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_mask(tmp_path / "none.png")


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (9, 13)])
def test_the_border_is_where_a_neighbourhood_holds_two_labels(shape: tuple[int, int]) -> None:
    labels = np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8).repeat(2, axis=0)
    expected = np.zeros(labels.shape, dtype=bool)
    for y, x in np.ndindex(*labels.shape):
        window = labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        expected[y, x] = len(np.unique(window)) > 1
    assert np.array_equal(void_border(labels), expected)
    assert np.array_equal(with_void_border(labels), np.where(expected, 255, labels))


def test_a_mask_that_is_a_decompression_bomb_is_refused(
    tmp_path: Path, bomb: Callable[[Path], None]
) -> None:
    bomb(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=r"bomb\.png: mask of too many pixels"):
        read_mask(tmp_path / "bomb.png")
