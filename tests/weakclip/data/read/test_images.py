from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from weakclip.data.check.survey import probe_mask
from weakclip.data.formats.masks import read_mask
from weakclip.data.read import opened
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
def test_integers_of_unknown_range_are_refused_and_not_called_damaged(
    tmp_path: Path, value: int
) -> None:
    Image.fromarray(np.full((2, 3), value, dtype=np.int32)).save(tmp_path / "a.tiff")
    message = rf"a\.tiff: expected 16-bit values .* got {value} to {value}; scale it to 0 to 255"
    with pytest.raises(ValueError, match=message):
        read_rgb(tmp_path / "a.tiff")


def test_floats_of_unknown_range_are_refused_and_not_called_damaged(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32) / 2).save(tmp_path / "a.tiff")
    message = r"a\.tiff: expected 8 or 16 bits .* got floats from 0 to 127\.5.*; scale it to 0"
    with pytest.raises(ValueError, match=message):
        read_rgb(tmp_path / "a.tiff")


def test_floats_in_several_channels_are_named_with_what_converts_them(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.zeros((2, 3, 3), dtype=np.float32))
    message = r"a\.tif: is a TIFF image that is not read here; .* `magick 'a\.tif' a\.png`"
    with pytest.raises(ValueError, match=message):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "suffix", [".jfif", ".jpe", ".jp2", ".avif", ".ppm", ".pgm", ".tga", ".bmp"]
)
def test_images_of_less_common_suffixes_are_listed_and_read(tmp_path: Path, suffix: str) -> None:
    if suffix not in Image.registered_extensions():
        pytest.skip(f"a Pillow without {suffix}")
    image = Image.fromarray(np.full((16, 16), 99, dtype=np.uint8))
    image.save(tmp_path / f"a{suffix}", format="JPEG" if suffix in (".jfif", ".jpe") else None)
    assert image_names(tmp_path) == (f"a{suffix}",)
    assert abs(read_rgb(tmp_path / f"a{suffix}").astype(int) - 99).max() < 4


def big_text(path: Path, *, where: str) -> None:
    """A PNG with a megabyte of text, before or after its pixels, and an orientation in EXIF."""
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(path, pnginfo=text, exif=exif)
    if where == "after":
        content = path.read_bytes()
        start = content.index(b"zTXt") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4])
        path.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_png_with_much_text_is_read_without_it(tmp_path: Path, where: str) -> None:
    big_text(tmp_path / "a.png", where=where)
    assert np.array_equal(read_rgb(tmp_path / "a.png")[..., 0], np.rot90(GREY, -1))
    assert probe(tmp_path / "a.png").rotated
    assert image_size(tmp_path / "a.png") == (2, 3)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.heic",
            HEIC,
            r"is a HEIC image that is not read here; .*pip install pillow-heif.*heif-convert",
        ),
        ("a.jpg", HEIC, "is a HEIC image that is not read here"),
        (
            "a.jpg",
            b"\xff\x0a",
            "is a JPEG XL image that is not read here; run `djxl",
        ),
        ("a.nef", b"II*\0", "is a camera's raw file that is not read here; develop it"),
        ("a.jpg", b"<!DOCTYPE html><html>", "is a web page, no image; fetch the picture itself"),
        (
            "a.jpg",
            b"version https://git-lfs.github.com/spec/v1",
            "is a pointer of Git LFS, no image; run",
        ),
        ("a.jpg", b"%PDF-1.7", "is a PDF, no image; run `pdftoppm"),
        ("a.png", b"<svg xmlns=''>", "is an SVG drawing that is not read here; draw it"),
        ("a.png", b"PK\x03\x04", "is an archive, no image; unpack it"),
        ("a.jpg", b"{'a': 1}", "is text, no image"),
        ("a.jpg", b"\xff\xd8\xff\xe0", "damaged image"),
        ("a.jpg", b"", "damaged image"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(
    tmp_path: Path, name: str, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "_reads_heif", lambda: False)
    (tmp_path / name).write_bytes(content)
    for read in (read_rgb, probe, image_size):
        with pytest.raises(ValueError, match=rf"{name}: {message}"):
            read(tmp_path / name)


def test_heic_is_read_where_pillow_heif_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = ModuleType("pillow_heif")

    def register() -> None:
        Image.register_open("TEST", lambda *_: PngImagePlugin.PngImageFile(tmp_path / "b.png"),
                            lambda start: start[4:12] == b"ftypheic")  # fmt: skip

    monkeypatch.setattr(plugin, "register_heif_opener", register, raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    opened._reads_heif.cache_clear()
    Image.fromarray(GREY).save(tmp_path / "b.png")
    (tmp_path / "a.heic").write_bytes(HEIC)
    try:
        assert np.array_equal(read_rgb(tmp_path / "a.heic")[..., 0], GREY)
    finally:
        opened._reads_heif.cache_clear()


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
    assert "ünï cödé/a b.png" not in image_names(root, skip=[root / "ünï cödé"])


@pytest.mark.parametrize("read", [read_rgb, probe, image_size, read_mask, probe_mask])
def test_a_pipe_called_like_an_image_is_not_waited_for(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is a pipe or a device, not a file"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_rgb, probe, image_size, probe_mask])
def test_a_name_that_is_too_long_is_said(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(ValueError, match="File name too long; shorten the name"):
        read(tmp_path / ("x" * 300 + ".png"))
