from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from weakclip.data.read.images import image_names, image_size, probe, read_rgb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

GREY = np.array([[0, 100, 255], [7, 8, 9]], dtype=np.uint8)


def saved(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    """The RGB values that come back of a saved image."""
    image.save(path)
    return read_rgb(path)


def test_colour_comes_back_as_it_is(tmp_path: Path) -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    rgb = saved(tmp_path / "a.png", Image.fromarray(pixels))
    assert rgb.dtype == np.uint8
    assert np.array_equal(rgb, pixels)
    assert probe(tmp_path / "a.png").size == (2, 3)


def test_grey_has_three_equal_channels(tmp_path: Path) -> None:
    rgb = saved(tmp_path / "a.png", Image.fromarray(GREY))
    assert np.array_equal(rgb, np.stack([GREY] * 3, axis=2))
    assert probe(tmp_path / "a.png").mode == "L"


def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257
    rgb = saved(tmp_path / "a.png", Image.fromarray(deep))
    assert np.array_equal(rgb[..., 0], GREY)
    assert probe(tmp_path / "a.png").deep
    Image.fromarray(GREY).save(tmp_path / "b.png")
    assert not probe(tmp_path / "b.png").deep


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_of_unknown_range_are_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((2, 3), value, dtype=np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="expected 16-bit values"):
        read_rgb(tmp_path / "a.tiff")


def test_floats_of_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff: .*floats"):
        read_rgb(tmp_path / "a.tiff")


def test_transparent_pixels_are_seen_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 3] = (0, 128, 255)  # black: transparent, half, opaque
    rgb = saved(tmp_path / "a.png", Image.fromarray(pixels))
    assert rgb[0, :, 0].tolist() == [255, 127, 0]
    assert probe(tmp_path / "a.png").alpha


def test_a_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    rgb = read_rgb(tmp_path / "a.png")
    assert rgb[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_cmyk_is_converted(tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    cyan.save(tmp_path / "a.jpg", quality=100)
    rgb = read_rgb(tmp_path / "a.jpg")
    assert abs(rgb.astype(int) - (0, 255, 255)).max() < 3
    assert probe(tmp_path / "a.jpg").mode == "CMYK"


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 255  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=100)
    rgb = read_rgb(tmp_path / "a.jpg")
    assert rgb.shape == (32, 16, 3)
    assert rgb[:15].min() > 200
    assert rgb[17:].max() < 50
    facts = probe(tmp_path / "a.jpg")
    assert facts.rotated
    assert facts.size == (32, 16)
    assert image_size(tmp_path / "a.jpg") == (16, 32)


def test_bad_files_are_value_errors_that_name_the_file(
    bad_files: tuple[Path, tuple[str, ...]],
) -> None:
    root, bad = bad_files
    for name in set(bad) - {"secret.png"}:
        for read in (read_rgb, probe):
            with pytest.raises(ValueError, match=name):
                read(root / name)


def test_a_decompression_bomb_is_refused_by_its_header(
    tmp_path: Path, bomb: Callable[[Path], None]
) -> None:
    bomb(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 300_000
    with pytest.raises(ValueError, match="too many pixels"):
        read_rgb(tmp_path / "bomb.png")


def test_images_are_found_below_a_folder_and_links_end(
    bad_files: tuple[Path, tuple[str, ...]],
) -> None:
    root, bad = bad_files
    (root / ".hidden.jpg").write_bytes(b"")
    (root / "notes.txt").write_bytes(b"")
    assert image_names(root) == tuple(sorted([*bad, "good.jpg", "ünï cödé/a b.png"]))
    assert "ünï cödé/a b.png" not in image_names(root, skip=root / "ünï cödé")
